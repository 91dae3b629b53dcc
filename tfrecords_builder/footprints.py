"""Where patches lie on the ground, and which of them come close to each other."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points
from scipy.spatial import cKDTree

from tfrecords_builder.rasters import metres_per_unit

# NSIDC EASE-Grid 2.0 Global: equal-area, covers the Earth, in metres. It serves when patches lie
# in several coordinate systems, for example in two UTM zones.
COMMON_CRS = "EPSG:6933"
# 2 pi a cos(30) / sqrt(1 - (e sin(30))^2) on WGS 84; NSIDC has half of it, 17367530.45 m.
COMMON_WIDTH_M = 34735060.8903
TOLERANCE_PX = 1e-3
PAIRS_AT_ONCE = 2**20
"""Pairs of patches in memory while the least distance is searched."""


@dataclass(frozen=True, kw_only=True)
class PatchPlace:
    """A patch's part inside its raster, as the raster says where it lies."""

    crs: str
    """EPSG:n or WKT; empty when the raster has none."""
    raster: str
    """Id of the raster; without a CRS it is a world of its own."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients of the raster's (or the patch's) upper-left corner."""
    row_off: int
    col_off: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Footprints:
    """Rectangles on the ground, in one plane for each world."""

    world: np.ndarray
    """Which rectangles share coordinates, int [patches]; 0 is the Earth."""
    bounds: np.ndarray
    """xmin, ymin, xmax, ymax, float64 [patches, 4]; metres on Earth, else the raster's units."""
    pixel: np.ndarray
    """Width and height of a pixel in the same units, float64 [patches, 2].

    They differ far from 30 degrees of latitude, where the equal-area grid stretches the ground.
    """

    @property
    def centers(self) -> np.ndarray:
        """Centres, float64 [patches, 2]."""
        return np.asarray((self.bounds[:, :2] + self.bounds[:, 2:]) / 2)

    def subset(self, rows: np.ndarray | Sequence[int]) -> "Footprints":
        """Returns the footprints at these positions."""
        return Footprints(world=self.world[rows], bounds=self.bounds[rows], pixel=self.pixel[rows])

    def distance(self, pairs: np.ndarray) -> np.ndarray:
        """Returns the distance of each pair (int [n, 2]) in pixels; negative where they overlap.

        Beside or above each other it is the gap between edges; diagonally, between corners.
        """
        first, second = self.bounds[pairs[:, 0]], self.bounds[pairs[:, 1]]
        gaps = np.maximum(second[:, :2] - first[:, 2:], first[:, :2] - second[:, 2:])
        gaps = gaps / self._smaller_pixel(pairs)
        apart = np.hypot(*np.maximum(gaps, 0).T)
        return np.asarray(np.where((gaps < 0).all(axis=1), gaps.max(axis=1), apart))

    def close_pairs(self, distance_px: float, groups: np.ndarray) -> np.ndarray:
        """Returns pairs of rectangles of different groups that are nearer than a distance.

        Args:
            distance_px: In pixels; 0 finds the rectangles that share ground.
            groups: Group of each rectangle, int [patches].

        Returns:
            Positions, int [pairs, 2].
        """
        found = [np.zeros((0, 2), np.int64)]
        for world in np.unique(self.world):
            members = np.flatnonzero(self.world == world)
            if len(np.unique(groups[members])) > 1:
                found.append(members[self._near(members, distance_px, groups[members])])
        pairs = np.concatenate(found)
        return pairs[self.distance(pairs) < distance_px - TOLERANCE_PX]

    def shared_pixels(self, pairs: np.ndarray) -> np.ndarray:
        """Returns the pixels that each overlapping pair (int [n, 2]) has in common."""
        first, second = self.bounds[pairs[:, 0]], self.bounds[pairs[:, 1]]
        sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
        return np.asarray((np.maximum(sides, 0) / self._smaller_pixel(pairs)).prod(axis=1))

    def min_distance(self, groups: np.ndarray) -> float | None:
        """Returns the least distance between rectangles of two groups in pixels.

        Args:
            groups: One of two numbers for each rectangle, int [patches].

        Returns:
            0 where they overlap, None when the groups have no world in common.
        """
        least = None
        for world in np.unique(self.world):
            members = np.flatnonzero(self.world == world)
            sides = [members[groups[members] == group] for group in np.unique(groups[members])]
            if len(sides) == 2:
                found = self._least(sides[0], sides[1])
                least = found if least is None else min(least, found)
        return least

    def _smaller_pixel(self, pairs: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(self.pixel[pairs[:, 0]], self.pixel[pairs[:, 1]]))

    def _least(self, first: np.ndarray, second: np.ndarray) -> float:
        """Returns the least distance of two sets, from ever more of the nearest centres.

        Only pairs of one from each set are looked at, `PAIRS_AT_ONCE` at a time.
        """
        many, few = (first, second) if len(first) > len(second) else (second, first)
        # In the largest pixels, centres are as far apart as the rectangles' distance in their own
        # pixels and half of both diagonals, or nearer.
        pixel = np.maximum(self.pixel[many].max(axis=0), self.pixel[few].max(axis=0))
        sizes = (self.bounds[:, 2:] - self.bounds[:, :2]) / pixel
        slack = float(np.hypot(*(sizes[many].max(axis=0) + sizes[few].max(axis=0)) / 2))
        centers = self.centers / pixel
        tree = cKDTree(centers[many])
        least, seen = np.inf, 0
        while len(few) and seen < len(many):
            ranks = np.arange(seen + 1, min(max(2 * seen, 1), len(many)) + 1)
            farthest = np.empty(len(few))
            step = max(PAIRS_AT_ONCE // int(ranks[-1]), 1)
            for start in range(0, len(few), step):
                part = few[start : start + step]
                apart, nearest = tree.query(centers[part], k=ranks)
                pairs = np.column_stack([many[nearest].ravel(), np.repeat(part, len(ranks))])
                least = min(least, float(self.distance(pairs).min()))
                farthest[start : start + step] = apart[:, -1]
            if least <= 0:
                return 0.0
            few, seen = few[farthest - slack < least], int(ranks[-1])
        return least

    def _near(self, members: np.ndarray, distance_px: float, groups: np.ndarray) -> np.ndarray:
        """Returns a superset of the close pairs, from the distance of centres alone."""
        bounds, centers = self.bounds[members], self.centers[members]
        largest = (bounds[:, 2:] - bounds[:, :2]).max()
        reach = largest + distance_px * self.pixel[members].max()
        sides = [np.flatnonzero(groups == group) for group in np.unique(groups)[:3]]
        if len(sides) == 2:
            # Two trees do not meet the pairs within a group, which are most of all.
            trees = [cKDTree(centers[side]) for side in sides]
            found = trees[0].sparse_distance_matrix(
                trees[1], reach, p=np.inf, output_type="ndarray"
            )
            return np.column_stack([sides[0][found["i"]], sides[1][found["j"]]])
        pairs = cKDTree(centers).query_pairs(reach, p=np.inf, output_type="ndarray")
        return np.asarray(pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]])


def locate(places: Sequence[PatchPlace]) -> Footprints:
    """Returns the footprints of patches.

    Patches of one CRS in metres keep its coordinates. Several CRSs, degrees or feet are brought to
    an equal-area grid of the Earth, which is cut where it is emptiest. Rasters without a CRS each
    get a world of their own.
    """
    corners = np.array([_corners(place) for place in places]).reshape(-1, 4, 2)
    systems = [place.crs for place in places]
    known = sorted(set(systems) - {""})
    if known and known != [plane_of(known)]:
        for crs in known:
            rows = np.array([system == crs for system in systems])
            corners[rows] = _to_common(corners[rows], crs)
        earth = np.array([system != "" for system in systems])
        corners[earth, :, 0] = _unwrapped(corners[earth, :, 0])
    numbers: dict[str, int] = {}
    world = [
        0 if place.crs else numbers.setdefault(place.raster, len(numbers) + 1) for place in places
    ]
    bounds = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    width = np.array([place.width for place in places]).reshape(-1, 1)
    height = np.array([place.height for place in places]).reshape(-1, 1)
    across = (corners[:, 1] - corners[:, 0]) / width
    down = (corners[:, 2] - corners[:, 0]) / height
    # Along each axis, so that a turn changes nothing.
    return Footprints(world=np.array(world), bounds=bounds, pixel=np.hypot(across, down))


def plane_of(systems: Collection[str]) -> str:
    """Returns the CRS in which `locate` lays patches that are in these CRSs, one or several."""
    first, *more = systems
    alone = not more and metres_per_unit(CRS.from_user_input(first)) == 1
    return first if alone else COMMON_CRS


def _corners(place: PatchPlace) -> list[tuple[float, float]]:
    a, b, c, d, e, f = place.transform
    rows = (place.row_off, place.row_off + place.height)
    cols = (place.col_off, place.col_off + place.width)
    return [(a * col + b * row + c, d * col + e * row + f) for row in rows for col in cols]


def _to_common(corners: np.ndarray, crs: str) -> np.ndarray:
    flat = corners.reshape(-1, 2)
    x, y = transform_points(crs, COMMON_CRS, flat[:, 0].tolist(), flat[:, 1].tolist())
    return np.stack([x, y], axis=1).reshape(corners.shape)


def _unwrapped(x: np.ndarray) -> np.ndarray:
    """Returns x on the common grid with the Earth cut in its widest gap, not at 180 degrees."""
    ordered = np.sort(x, axis=None)
    gaps = np.diff(ordered, append=ordered[0] + COMMON_WIDTH_M)
    widest = int(gaps.argmax())
    if widest == len(ordered) - 1:
        return x
    return np.where(x <= ordered[widest], x + COMMON_WIDTH_M, x)
