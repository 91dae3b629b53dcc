"""A class map read in row strips, so that a full tile needs little memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine

from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import DEFAULT_LEGEND, Legend, load_legend
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_legends import choose_legend
from landcover_tf.rasters.raster_windows import opened, read_window

STRIP_PX = 2**24
"""Most pixels in memory at once; 512 rows of 32,768. A comparison takes 70 bytes for each."""


@dataclass(frozen=True, kw_only=True)
class MapPixels:
    """What a map consists of."""

    classes: dict[int, int]
    """Pixels of each class of the legend, also of those that do not occur."""
    nodata: int
    """Pixels without class."""
    excluded: dict[int, int]
    """Pixels of each code that the user asked to leave out."""

    @property
    def mapped(self) -> int:
        """Pixels with a class."""
        return sum(self.classes.values())


@dataclass(frozen=True, kw_only=True)
class SampledPixels:
    """The pixels that points were drawn from; a record of them says where, but not how many."""

    name: str = field(compare=False)
    """Path of the map, for messages."""
    crs: CRS | None
    transform: Affine
    pixel_area_m2: float | None = field(compare=False)
    """Area of each pixel on the ground, None where they have no common one."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """A raster of legend codes."""

    path: Path
    legend: Legend
    legend_source: str | Path
    """Name or TOML file of the legend, by which crosswalks to it are found."""
    grid: RasterGrid
    """Where its pixels lie."""
    legend_assumed: bool = False
    """Neither a flag nor the map's tags name the legend."""
    excluded: tuple[int, ...] = ()
    """Codes that are read as no data, for example that of uncertain pixels."""

    @staticmethod
    def open(
        path: Path,
        legend: str | Path | None = None,
        excluded: Sequence[int] = (),
        *,
        legend_flag: str = "--legend",
    ) -> "ClassMap":
        """Returns the description of a map.

        Args:
            path: Raster of one uint8 band.
            legend: Name or TOML file; the one that the map's tags name by default, or else
                `DEFAULT_LEGEND`.
            excluded: Codes to read as no data.
            legend_flag: Flag of `legend`, for the messages.

        Raises:
            RasterError: The file is no such raster.
            LegendError: There is no such legend, or the map's tags name another.
        """
        with opened(path, "the map") as raster:
            if raster.count != 1 or raster.dtypes[0] != "uint8":
                raise RasterError(
                    f"{path} must be a class map of one uint8 band, got {raster.count} of "
                    f"{raster.dtypes[0]}"
                )
            chosen = choose_legend([path], legend, DEFAULT_LEGEND, flag=legend_flag)
            return ClassMap(
                path=path,
                legend=load_legend(chosen.source),
                legend_source=chosen.source,
                legend_assumed=chosen.assumed,
                grid=RasterGrid.of(raster),
                excluded=tuple(excluded),
            )

    @property
    def sampled(self) -> SampledPixels:
        """Its pixels, as a sample has them that was drawn from it."""
        return SampledPixels(
            name=str(self.path),
            crs=self.grid.crs,
            transform=self.grid.transform,
            pixel_area_m2=self.grid.pixel_area_m2,
        )

    def strips(self, rows: int) -> Iterator[Window]:
        """Returns windows of full rows that cover the map from top to bottom.

        Args:
            rows: Height of each window; fewer where these would be more than `STRIP_PX` pixels.
        """
        # A power of two, so that windows keep within the rows of a COG's blocks.
        fitting = 1 << (max(STRIP_PX // self.grid.width, 1).bit_length() - 1)
        return self.grid.window.strips(min(rows, fitting))

    def read(self, window: Window) -> np.ndarray:
        """Returns the codes of a window inside the map, uint8 [height, width]."""
        codes = self._read(window)
        for code in self.excluded:
            codes[codes == code] = self.legend.nodata
        return codes

    def at(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Returns the codes of single pixels inside the map, uint8 [points].

        Args:
            rows: Integer [points].
            cols: Integer [points].
        """
        codes = np.full(len(rows), self.legend.nodata, np.uint8)
        with opened(self.path, "the map") as raster:
            for i in np.lexsort((cols, rows)):  # In the file's order, for GDAL's block cache.
                pixel = Window(row_off=int(rows[i]), col_off=int(cols[i]), height=1, width=1)
                codes[i] = read_window(raster, pixel)[0, 0]
        codes[np.isin(codes, self.excluded)] = self.legend.nodata
        return codes

    def count(self, rows: int) -> MapPixels:
        """Returns the pixels of each class, read in strips of `rows`.

        Raises:
            RasterError: The map has codes that its legend does not know.
        """
        counts = self._counts(rows)
        known = {self.legend.nodata, *self.legend.codes, *self.excluded}
        unknown = {int(c): int(counts[c]) for c in np.flatnonzero(counts) if int(c) not in known}
        if unknown:
            listed = ", ".join(f"{code} ({n} px)" for code, n in unknown.items())
            raise RasterError(
                f"{self.path} has codes that legend {self.legend.name} does not know: {listed}; "
                "name the right --legend or leave them out with --exclude-codes"
            )
        excluded = {code: int(counts[code]) for code in self.excluded}
        return MapPixels(
            classes={c: 0 if c in excluded else int(counts[c]) for c in self.legend.codes},
            nodata=0 if self.legend.nodata in excluded else int(counts[self.legend.nodata]),
            excluded=excluded,
        )

    def count_codes(self, rows: int) -> dict[int, int]:
        """Returns the pixels of each code that occurs, known to the legend or not, but no data."""
        counts = self._counts(rows)
        without = (self.legend.nodata, *self.excluded)
        return {int(c): int(counts[c]) for c in np.flatnonzero(counts) if c not in without}

    def _counts(self, rows: int) -> np.ndarray:
        counts = np.zeros(256, np.int64)
        for window in self.strips(rows):
            counts += np.bincount(self._read(window).ravel(), minlength=256)
        return counts

    def _read(self, window: Window) -> np.ndarray:
        with opened(self.path, "the map") as raster:
            return read_window(raster, window)
