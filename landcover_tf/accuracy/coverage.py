"""How much of an assessed map lies in the strata that its sample was drawn from."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landcover_tf.accuracy.class_map import ClassMap, MapPixels
from landcover_tf.accuracy.design import Design
from landcover_tf.rasters.raster_windows import opened, read_window

# Two rasters without reference system share one, and warping needs its name, whichever it is.
_ANY_CRS = CRS.from_epsg(3857)
_TOLERANCE_PX = 0.001
"""Of the places that GDAL interpolates along a row; rasterio 1.4 cannot ask for exact ones."""


@dataclass(frozen=True, kw_only=True)
class MappedInStrata:
    """What an assessed map classifies within strata, as far as that can be counted."""

    most: Mapping[int, int]
    """Pixels of each class of the map that lie in the strata; the most where `surplus` is not 0."""
    surplus: int = 0
    """How many pixels of `most` may lie outside of the strata; 0 where they were counted."""

    @property
    def counted(self) -> bool:
        """Whether `most` is what lies in the strata."""
        return not self.surplus

    @property
    def most_pixels(self) -> int:
        """Pixels of all classes that lie in the strata, or the most."""
        return sum(self.most.values())

    def least(self, code: int) -> int:
        """Returns how many pixels of a class lie in the strata at least."""
        return max(self.most[code] - self.surplus, 0)

    def share_limits(self, code: int) -> tuple[float, float]:
        """Returns the least and the largest possible share of a class in what is classified."""
        least, most = self.least(code), self.most[code]
        others = self.most_pixels - most
        fewest = max(others - self.surplus, 0)
        return least / max(least + others, 1), most / max(most + fewest, 1)


def of_own_strata(pixels: MapPixels, strata: Collection[int]) -> MappedInStrata:
    """Returns the pixels of each class of a map whose classes are the strata.

    Args:
        pixels: What the map consists of.
        strata: Codes of the strata that the sample covers.
    """
    return MappedInStrata(
        most={code: n if code in strata else 0 for code, n in pixels.classes.items()}
    )


def in_strata_of_record(
    class_map: ClassMap, pixels: MapPixels, design: Design, strata: Collection[int]
) -> MappedInStrata:
    """Returns the pixels of each class of a map in strata of which a record tells the sizes only.

    Of a map of the same pixels, all lie in the strata but as many as the record has outside of
    them. Elsewhere nobody knows where the strata end.

    Args:
        class_map: The assessed map.
        pixels: What that map consists of.
        design: The record.
        strata: Codes of the strata that the sample covers.
    """
    grid, sampled = class_map.grid, design.sampled
    sampled_grid = replace(grid, crs=sampled.crs, transform=sampled.transform)
    same = grid.same_pixels(sampled_grid) and design.all_pixels == math.prod(grid.shape)
    outside = design.all_pixels - sum(design.pixels[code] for code in strata)
    surplus = min(outside, pixels.mapped) if same else pixels.mapped
    return MappedInStrata(most=pixels.classes, surplus=surplus)


def in_strata_of(
    class_map: ClassMap, strata_map: ClassMap, strata: Collection[int], *, rows_per_strip: int
) -> MappedInStrata:
    """Returns the pixels of each class of a map whose centres lie in the strata of another map.

    Args:
        class_map: The assessed map.
        strata_map: Map of the strata, on any grid.
        strata: Codes of the strata that the sample covers.
        rows_per_strip: Rows held at once.
    """
    counts = np.zeros(256, np.int64)
    crs = class_map.grid.crs or strata_map.grid.crs or _ANY_CRS
    with (
        opened(strata_map.path, "the map of strata") as raster,
        WarpedVRT(
            raster,
            src_crs=strata_map.grid.crs or crs,
            **replace(class_map.grid, crs=crs).profile,
            src_nodata=strata_map.legend.nodata,
            nodata=strata_map.legend.nodata,
            resampling=Resampling.nearest,
            tolerance=_TOLERANCE_PX,
        ) as aligned,
    ):
        for window in class_map.strips(rows_per_strip):
            inside = np.isin(read_window(aligned, window), list(strata))
            codes = class_map.read(window)
            counts += np.bincount(codes[inside], minlength=256)
    return MappedInStrata(most={code: int(counts[code]) for code in class_map.legend.codes})
