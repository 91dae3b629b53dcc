"""Where the pixels of a raster lie, and whether those of another are the same."""

import math
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from landcover_tf.grid import Window
from landcover_tf.rasters.bounds import Bounds, bounds_of
from landcover_tf.rasters.pixel_sizes import pixel_area_m2, square_side_m

ALIGNMENT_PX = 0.01
"""How far pixel corners may lie apart and still count as one grid."""


class GridProfile(TypedDict):
    """What `rasterio.open` and its warped rasters are told of a grid."""

    height: int
    width: int
    crs: CRS | None
    transform: Affine


@dataclass(frozen=True, kw_only=True)
class RasterGrid:
    """The pixels of a raster: how many, and where on Earth."""

    height: int
    width: int
    crs: CRS | None
    transform: Affine
    """From columns and rows to coordinates in `crs`."""

    @staticmethod
    def of(raster: rasterio.DatasetReader) -> "RasterGrid":
        """Returns the grid of an open raster."""
        return RasterGrid(
            height=raster.height, width=raster.width, crs=raster.crs, transform=raster.transform
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def window(self) -> Window:
        """All its pixels."""
        return Window(row_off=0, col_off=0, height=self.height, width=self.width)

    @property
    def bounds(self) -> Bounds:
        """Least x and y, and greatest x and y."""
        return bounds_of(self.transform, self.shape)

    @property
    def profile(self) -> GridProfile:
        """What `rasterio.open` and its warped rasters are told of it."""
        return {
            "height": self.height,
            "width": self.width,
            "crs": self.crs,
            "transform": self.transform,
        }

    @property
    def pixel_area_m2(self) -> float | None:
        """Area of each pixel on the ground; None where they have no common one."""
        return pixel_area_m2(self.transform, self.crs, self.shape)

    @property
    def pixel_side_m(self) -> float | None:
        """Side of a square as large as the middle pixel; None without a projected CRS."""
        return square_side_m(self.transform, self.crs, self.shape)

    def part(self, window: Window) -> "RasterGrid":
        """Returns the grid of a window, which may reach beyond this one."""
        return replace(
            self,
            height=window.height,
            width=window.width,
            transform=self.transform @ Affine.translation(window.col_off, window.row_off),
        )

    def same_pixels(self, other: "RasterGrid") -> bool:
        """Returns whether another raster has the very pixels of this one."""
        return (
            self.shape == other.shape
            and self.crs == other.crs
            and self.shift_px(other) <= ALIGNMENT_PX
        )

    def fits(self, other: "RasterGrid", tolerance_px: float = ALIGNMENT_PX) -> bool:
        """Returns whether another raster has the pixels of this one, as far as both tell.

        Of one size, they are the same where either does not say where it lies, as a PNG.

        Args:
            other: The other raster.
            tolerance_px: How far its pixels may lie from these.
        """
        if self.shape != other.shape:
            return False
        if any(grid.crs is None and grid.transform.is_identity for grid in (self, other)):
            return True
        same_crs = None in (self.crs, other.crs) or self.crs == other.crs
        return same_crs and self.shift_px(other) <= tolerance_px

    def shift_px(self, other: "RasterGrid") -> float:
        """Returns how far pixels of one row and column lie apart at most, in pixels of this grid.

        Args:
            other: A grid of the same size and CRS.
        """
        if self.transform.is_degenerate:
            return 0.0 if self.transform == other.transform else math.inf
        corners = np.array([[0, self.width, 0, self.width], [0, 0, self.height, self.height]])
        moved = np.array((~self.transform @ other.transform) @ tuple(corners))
        return float(np.hypot(*(moved - corners)).max())
