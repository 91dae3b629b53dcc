"""Farmland parcels: blocks of one bearing, cut into strips and the strips into fields."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_TABLE = 4096


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Parcels over a whole raster; random values are constant within a parcel."""

    parcel: np.ndarray
    """Index of each pixel's parcel into the table of random values, uint16 [height, width]."""
    across: np.ndarray
    """Coordinate across the rows of the parcel's block in px, float32 [height, width]."""
    is_edge: np.ndarray
    """True on the pixel lines between parcels, bool [height, width]."""
    values: np.ndarray
    """Uniform random values, float32 [parcels, 4]."""

    def value(self, column: int) -> np.ndarray:
        """Returns one random value per pixel in [0, 1), float32 [height, width]."""
        values: np.ndarray = self.values[self.parcel, column]
        return values


def make_fields(rng: np.random.Generator, shape: tuple[int, int]) -> Fields:
    """Returns parcels of 60 to 200 m by 150 to 500 m in blocks of about 600 m."""
    block = _voronoi(rng, shape, spacing_px=62)
    count = int(block.max()) + 1
    bearing = rng.uniform(0, np.pi, count).astype(np.float32)
    strip_width = rng.uniform(6, 20, count).astype(np.float32)
    length = rng.uniform(15, 50, count).astype(np.float32)

    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    cosine, sine = np.cos(bearing)[block], np.sin(bearing)[block]
    across = rows * cosine + cols * sine
    strip = np.floor(across / strip_width[block]).astype(np.int64)
    # Neighbouring strips begin at different places, as real ones do.
    start = (mix(strip, block) % 1000).astype(np.float32) / 1000
    along = (cols * cosine - rows * sine) / length[block] + start
    parcel = (mix(mix(strip, np.floor(along).astype(np.int64)), block) % _TABLE).astype(np.uint16)
    is_edge = np.zeros(shape, bool)
    is_edge[1:] |= parcel[1:] != parcel[:-1]
    is_edge[:, 1:] |= parcel[:, 1:] != parcel[:, :-1]
    values = rng.random((_TABLE, 4), dtype=np.float32)
    return Fields(parcel=parcel, across=across, is_edge=is_edge, values=values)


def _voronoi(rng: np.random.Generator, shape: tuple[int, int], *, spacing_px: float) -> np.ndarray:
    """Returns the index of the nearest of some random points, int32 [height, width]."""
    count = max(int(shape[0] * shape[1] / spacing_px**2), 2)
    points = (rng.random((count, 2)) * shape).astype(int)
    index = np.full(shape, -1, np.int32)
    index[points[:, 0], points[:, 1]] = np.arange(count)
    nearest = ndimage.distance_transform_edt(index < 0, return_distances=False, return_indices=True)
    cells: np.ndarray = index[nearest[0], nearest[1]]
    return cells


def mix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns a well-mixed non-negative int64 of two integers (constants of SplitMix64)."""
    mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed += second.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(20)).astype(np.int64)
