"""A land-cover layout with the shapes of real land: coast, river, towns, fields, ragged woods.

Classes are painted one over the other. Each takes the pixels where its own score (height,
nearness to water, distance to a town, plus noise) is lowest, up to the share it is to have, so
every class is present at any raster size.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from landcover_tf.sentinel2.simulation.fields import Fields, make_fields
from landcover_tf.sentinel2.simulation.noise import fractal_noise, lowest, smooth_noise
from landcover_tf.sentinel2.simulation.roads import draw_line, lay_roads, place_towns

AGRICULTURE, FOREST, GRASSLAND, URBAN = 10, 20, 30, 40
WETLAND, WATER, SCRUB, BARE = 50, 60, 80, 90
"""Codes of the `landcover9` legend."""


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What lies where; all arrays are [height, width] at 10 m."""

    codes: np.ndarray
    """`landcover9` codes, uint8, without no data."""
    height: np.ndarray
    """Relative terrain height, float32, about -2 to 2."""
    fields: Fields
    """The parcels that farmland and meadows follow."""
    towns: np.ndarray
    """Town centres, float [towns, 2] row and column, and the streets' bearing: [towns, 3]."""
    is_sea: np.ndarray
    """True on sea and lakes as opposed to rivers, bool."""
    is_road: np.ndarray
    """True on roads between towns, bool."""


def make_landscape(rng: np.random.Generator, size_px: int) -> Landscape:
    """Returns a square layout of `size_px` pixels of 10 m."""
    shape = (size_px, size_px)
    height = _terrain(rng, shape)
    codes = np.zeros(shape, np.uint8)
    is_sea = lowest(height, codes == 0, rng.uniform(0.08, 0.11))
    codes[is_sea] = WATER
    codes[_rivers(rng, is_sea, height)] = WATER

    to_water = np.minimum(ndimage.distance_transform_edt(codes != WATER), 400).astype(np.float32)
    towns = place_towns(rng, to_water, codes == 0)
    _paint_wetland_and_shore(rng, codes, to_water, is_sea)
    _paint_towns(rng, codes, towns)
    fields = make_fields(rng, shape)
    _paint_wild(rng, codes, height)
    _paint_meadows(rng, codes, fields)
    codes[codes == 0] = AGRICULTURE
    is_road = lay_roads(rng, shape, towns) & ~is_sea
    codes[is_road] = URBAN
    return Landscape(
        codes=codes, height=height, fields=fields, towns=towns, is_sea=is_sea, is_road=is_road
    )


def _terrain(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Returns hills that fall towards a coast on a random side, float32."""
    size = shape[0]
    bearing = rng.uniform(0, 2 * np.pi)
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32) / np.float32(size) - np.float32(0.5)
    tilt = rows * np.float32(np.cos(bearing)) + cols * np.float32(np.sin(bearing))
    hills = fractal_noise(rng, shape, min(size / 2.5, 360), octaves=6, persistence=0.5)
    height: np.ndarray = (2.6 * tilt + 0.75 * hills).astype(np.float32)
    return height


def _rivers(rng: np.random.Generator, is_sea: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Returns True on a river from the hills to the sea and on a tributary, bool."""
    size = is_sea.shape[0]
    far_high = np.where(_margin(is_sea.shape, 2), height, -np.inf)
    spring = np.array(np.unravel_index(np.argmax(far_high), is_sea.shape), float)
    sea = np.argwhere(is_sea & _margin(is_sea.shape, max(size // 5, 3)))
    sea = sea if len(sea) else np.argwhere(is_sea)
    mouth = sea[rng.integers(len(sea))].astype(float)
    course = _meander(rng, spring, mouth, size * 0.07)
    joint = course[int(len(course) * rng.uniform(0.45, 0.7))]
    source = rng.uniform(0.1, 0.9, 2) * size
    brook = _meander(rng, source, joint, size * 0.05)
    widths = [2.0 + 3.5 * np.linspace(0, 1, len(course)), np.full(len(brook), 1.6)]
    return draw_line(is_sea.shape, np.concatenate([course, brook]), np.concatenate(widths))


def _meander(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, swing_px: float
) -> np.ndarray:
    """Returns a winding line of points [n, 2] from `start` to `end`."""
    length = max(int(np.hypot(*(end - start))), 8)
    along = np.linspace(0, 1, 2 * length)[:, None]
    offset = sum(
        smooth_noise(rng, (len(along), 1), max(length * wave, 6)) * strength
        for wave, strength in ((0.5, 1.0), (0.16, 0.45), (0.05, 0.12))
    )
    across = np.array([-(end - start)[1], (end - start)[0]]) / length
    # The swing fades out at both ends, which must stay where they are.
    swing = offset * swing_px * np.sin(np.pi * along)
    line: np.ndarray = start + along * (end - start) + swing * across
    return line


def _paint_wetland_and_shore(
    rng: np.random.Generator, codes: np.ndarray, to_water: np.ndarray, is_sea: np.ndarray
) -> None:
    """Paints wetlands beside water and beaches along parts of the coast."""
    size = codes.shape[0]
    reach = min(26.0, size / 14)
    wet = to_water / reach + 0.9 * fractal_noise(rng, codes.shape, 60, octaves=5, persistence=0.6)
    to_sea = ndimage.distance_transform_edt(~is_sea).astype(np.float32)
    sandy = smooth_noise(rng, codes.shape, 70) > 0.1
    beach_width = 3 + 1.5 * smooth_noise(rng, codes.shape, 12)
    codes[(codes == 0) & sandy & (to_sea < beach_width)] = BARE
    codes[lowest(wet, (codes == 0) & (to_water < 4 * reach), rng.uniform(0.06, 0.075))] = WETLAND


def _paint_towns(rng: np.random.Generator, codes: np.ndarray, towns: np.ndarray) -> None:
    """Paints towns around their centres, larger ones first in the list."""
    rows, cols = np.mgrid[0 : codes.shape[0], 0 : codes.shape[1]].astype(np.float32)
    score = np.full(codes.shape, np.inf, np.float32)
    for rank, (row, col, _) in enumerate(towns):
        radius = 1 / np.sqrt(1 + rank)
        score = np.minimum(score, np.hypot(rows - row, cols - col) / np.float32(radius))
    score /= codes.shape[0] / 8
    score += 0.35 * fractal_noise(rng, codes.shape, 28, octaves=4)
    codes[lowest(score, codes == 0, rng.uniform(0.075, 0.095))] = URBAN


def _paint_wild(rng: np.random.Generator, codes: np.ndarray, height: np.ndarray) -> None:
    """Paints rock on the heights, quarries, woods with ragged edges, and scrub around them."""
    shape = codes.shape
    rocky = -height + 0.8 * fractal_noise(rng, shape, 34, octaves=5, persistence=0.65)
    codes[lowest(rocky, codes == 0, rng.uniform(0.028, 0.036))] = BARE
    quarry = smooth_noise(rng, shape, 22) + 0.4 * fractal_noise(rng, shape, 14, octaves=3)
    codes[lowest(quarry, codes == 0, 0.012)] = BARE
    woods = -0.45 * height + fractal_noise(rng, shape, 95, octaves=6, persistence=0.6)
    codes[lowest(woods, codes == 0, rng.uniform(0.18, 0.21))] = FOREST
    scrub = woods + 0.8 * fractal_noise(rng, shape, 45, octaves=5, persistence=0.6)
    codes[lowest(scrub, codes == 0, rng.uniform(0.095, 0.115))] = SCRUB


def _paint_meadows(rng: np.random.Generator, codes: np.ndarray, fields: Fields) -> None:
    """Paints grassland: some parcels as pastures, and open land of no particular shape."""
    free = codes == 0
    pastures = free & (fields.value(0) < 0.17)
    codes[pastures] = GRASSLAND
    open_land = fractal_noise(rng, codes.shape, 55, octaves=5, persistence=0.55)
    codes[lowest(open_land, codes == 0, rng.uniform(0.05, 0.07))] = GRASSLAND


def _margin(shape: tuple[int, int], width_px: int) -> np.ndarray:
    """Returns True within `width_px` of the raster's edge, bool."""
    margin = np.ones(shape, bool)
    margin[width_px:-width_px, width_px:-width_px] = False
    return margin
