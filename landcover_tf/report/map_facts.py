"""What the report says about a map, read in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from landcover_tf.errors import RasterError
from landcover_tf.files import sha256_of
from landcover_tf.legend import LandCoverClass
from landcover_tf.raster_grid import RasterGrid
from landcover_tf.raster_windows import opened

# GDAL's own; it tells of the file, not of the map.
_FORMAT_TAGS = frozenset({"AREA_OR_POINT"})


@dataclass(frozen=True, kw_only=True)
class MapFacts:
    """A class map without its pixels."""

    path: Path
    pixels: Mapping[int, int]
    """Of each code that occurs."""
    pixel_m2: float | None
    """Area of a pixel; None where pixels have no common one."""
    named: Sequence[LandCoverClass]
    """Classes that tags CLASS_code and the colour table describe."""
    tags: Mapping[str, str]
    """Of the file: how the map was made."""

    @staticmethod
    def read(path: Path) -> "MapFacts":
        """Returns the facts of a map, block by block.

        Raises:
            RasterError: The map cannot be read or is not a uint8 raster.
        """
        with opened(path, "the map") as raster:
            if raster.dtypes[0] != "uint8":
                raise RasterError(f"{path} must be a uint8 class map, got {raster.dtypes[0]}")
            counts = np.zeros(256, np.int64)
            for _, window in raster.block_windows(1):
                counts += np.bincount(raster.read(1, window=window).ravel(), minlength=256)
            return MapFacts(
                path=path,
                pixels={int(code): int(counts[code]) for code in np.flatnonzero(counts)},
                pixel_m2=RasterGrid.of(raster).pixel_area_m2,
                named=_named_classes(raster),
                tags={k: v for k, v in raster.tags().items() if k not in _FORMAT_TAGS},
            )

    @cached_property
    def sha256(self) -> str:
        """Of the file, read when it is first asked for: only assessments name it."""
        return sha256_of(self.path)


def _named_classes(raster: rasterio.DatasetReader) -> list[LandCoverClass]:
    if raster.colorinterp[0] != ColorInterp.palette:
        return []
    colours = raster.colormap(1)
    names = {
        int(tag.removeprefix("CLASS_")): name
        for tag, name in raster.tags(1).items()
        if tag.removeprefix("CLASS_").isdecimal()
    }
    return [
        LandCoverClass(code=code, name=name, color="#{:02x}{:02x}{:02x}".format(*colours[code][:3]))
        for code, name in sorted(names.items())
        if code in colours
    ]
