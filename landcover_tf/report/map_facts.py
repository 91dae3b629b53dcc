"""What the report says about a map, read in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from landcover_tf.errors import RasterError, listed
from landcover_tf.legend import LandCoverClass, Legend
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import opened
from landcover_tf.system.files import sha256_of

# GDAL's own; it tells of the file, not of the map.
_FORMAT_TAGS = frozenset({"AREA_OR_POINT"})
_GREY = "#808080"


@dataclass(frozen=True, kw_only=True)
class MapFacts:
    """A class map without its pixels."""

    path: Path
    pixels: Mapping[int, int]
    """Number of pixels by code, of codes that occur."""
    pixel_m2: float | None
    """Area of a pixel; None where pixels have no common one."""
    named: Sequence[LandCoverClass]
    """Classes that tags CLASS_code of the band name, grey where it has no colour table."""
    tags: Mapping[str, str]
    """The file's tags: how the map was made."""

    @staticmethod
    def read(path: Path, legend: Legend) -> "MapFacts":
        """Returns the facts of a map, block by block.

        Raises:
            RasterError: The map cannot be read, is not one band of uint8, or has codes that
                neither `legend` nor its own tags name.
        """
        with opened(path, "the map") as raster:
            require_class_map(raster)
            counts = np.zeros(256, np.int64)
            for _, window in raster.block_windows(1):
                counts += np.bincount(raster.read(1, window=window).ravel(), minlength=256)
            pixels = {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
            named = named_classes(raster)
            _refuse_unknown(path, pixels, legend, named)
            return MapFacts(
                path=path,
                pixels=pixels,
                pixel_m2=RasterGrid.of(raster).pixel_area_m2,
                named=named,
                tags={k: v for k, v in raster.tags().items() if k not in _FORMAT_TAGS},
            )

    @cached_property
    def sha256(self) -> str:
        """The file's hash, taken when first asked for: only assessments name it."""
        return sha256_of(self.path)


def require_class_map(raster: rasterio.DatasetReader) -> None:
    """Refuses a raster that is not one band of uint8.

    Raises:
        RasterError: It has more bands or another type.
    """
    if raster.count != 1 or raster.dtypes[0] != "uint8":
        raise RasterError(
            f"{raster.name} must be a class map of one uint8 band, got {raster.count} of "
            f"{raster.dtypes[0]}"
        )


def named_classes(raster: rasterio.DatasetReader) -> list[LandCoverClass]:
    """Returns the classes that tags CLASS_code of the first band name, such as of uncertain."""
    palette = raster.colorinterp[0] == ColorInterp.palette
    colours = raster.colormap(1) if palette else {}
    names = {
        int(tag.removeprefix("CLASS_")): name
        for tag, name in raster.tags(1).items()
        if tag.removeprefix("CLASS_").isdecimal() and int(tag.removeprefix("CLASS_")) < 256
    }
    hexes = {code: "#{:02x}{:02x}{:02x}".format(*colour[:3]) for code, colour in colours.items()}
    return [
        LandCoverClass(code=code, name=name, color=hexes.get(code, _GREY))
        for code, name in sorted(names.items())
    ]


def _refuse_unknown(
    path: Path, pixels: Mapping[int, int], legend: Legend, named: Sequence[LandCoverClass]
) -> None:
    known = {legend.nodata, *legend.codes, *(c.code for c in named)}
    unknown = [f"{code} ({n:,} px)" for code, n in pixels.items() if code not in known]
    if unknown:
        raise RasterError(
            f"{path} has codes that neither legend {legend.name} nor tags of its band name: "
            f"{listed(unknown, 5)}; give a map in that legend, or name the codes by tags "
            f"CLASS_code, or make them its no data {legend.nodata}"
        )
