"""What each class looks like from close by: mixtures of materials with a texture of their own.

Spectra of different classes overlap on purpose. A pixel of a ploughed field, of a quarry and of a
car park can be the same; rows, canopies, roofs beside gardens, and neighbours tell them apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landcover_tf.sentinel2.simulation import landscape as cover
from landcover_tf.sentinel2.simulation.fields import mix
from landcover_tf.sentinel2.simulation.landscape import Landscape
from landcover_tf.sentinel2.simulation.noise import fractal_noise, grain
from landcover_tf.sentinel2.simulation.spectra import Material


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Two materials per pixel and how bright they are; all arrays are [height, width]."""

    first: np.ndarray
    """Material index, uint8."""
    second: np.ndarray
    """Material index, uint8."""
    share: np.ndarray
    """Share of the second material in [0, 1], float32."""
    brightness: np.ndarray
    """Factor on the reflectance: slope, canopy shade, moisture; float32 about 1."""


@dataclass(frozen=True, kw_only=True)
class _Texture:
    """Noise fields that the classes share, float32 [height, width]."""

    fine: np.ndarray
    medium: np.ndarray
    coarse: np.ndarray
    uniform: np.ndarray


def make_surface(rng: np.random.Generator, land: Landscape) -> Surface:
    """Returns the surface of a landscape."""
    shape = land.codes.shape
    texture = _Texture(
        fine=grain(rng, shape, 0.6),
        medium=fractal_noise(rng, shape, 10, octaves=3, persistence=0.8),
        coarse=fractal_noise(rng, shape, 80, octaves=4),
        uniform=rng.random(shape, dtype=np.float32),
    )
    first = np.zeros(shape, np.uint8)
    second = np.zeros(shape, np.uint8)
    share = np.zeros(shape, np.float32)
    brightness = np.ones(shape, np.float32)
    for code, cover_class in _CLASSES.items():
        where = land.codes == code
        a, b, mixed, bright = cover_class(land, texture)
        first[where], second[where] = _at(a, where), _at(b, where)
        share[where], brightness[where] = _at(mixed, where), _at(bright, where)
    dry = land.codes != cover.WATER
    brightness[dry] *= _hillshade(land.height)[dry]
    return Surface(
        first=first,
        second=second,
        share=np.clip(share, 0, 1),
        brightness=np.clip(brightness, 0.2, 2.0),
    )


_Parts = tuple[np.ndarray | Material, np.ndarray | Material, np.ndarray | float, np.ndarray | float]


def _water(land: Landscape, texture: _Texture) -> _Parts:
    turbid = np.where(land.is_sea, 0.12 + 0.12 * texture.coarse, 0.75)
    return Material.SEA, Material.RIVER, turbid, 1 + 0.03 * texture.fine


def _agriculture(land: Landscape, texture: _Texture) -> _Parts:
    """Each parcel has a crop, a stage of growth, a soil and rows along its longer side."""
    kind = land.fields.value(1)
    crop = np.select(
        [kind < 0.28, kind < 0.58], [Material.CROP_GREEN, Material.CROP_RIPE], Material.GRASS
    )
    soil = np.where(land.fields.value(2) < 0.5, Material.SOIL_BRIGHT, Material.SOIL_DARK)
    # Meadow-like crops ripen to the colour of dry grass instead of showing soil.
    soil = np.where((kind > 0.7) & (land.fields.value(2) < 0.6), Material.GRASS_DRY, soil)
    stage = land.fields.value(3)
    # Cover grows in an S-shape, so many parcels are nearly closed or nearly bare.
    bare = 1 / (1 + np.exp(7 * (stage - 0.42)))
    rows = np.sin(land.fields.across * np.float32(2 * np.pi / 2.9))
    bare = bare + 0.13 * rows + 0.06 * texture.medium + 0.02 * texture.fine
    bare = np.where(land.fields.is_edge, 0.35, bare)
    bright = 1 + 0.24 * (land.fields.value(0) - 0.5) + 0.02 * texture.fine + 0.08 * rows
    return crop, soil, bare, bright


def _forest(land: Landscape, texture: _Texture) -> _Parts:
    """Stands of needle and broad leaves under a rough, self-shading canopy."""
    broadleaf = 1 / (1 + np.exp(-4 * texture.coarse + 0.3 * texture.medium))
    return Material.CONIFER, Material.BROADLEAF, broadleaf, 0.95 + 0.17 * texture.fine


def _grassland(land: Landscape, texture: _Texture) -> _Parts:
    """Patchy swards without rows; from lush to dry."""
    dry = 0.45 + 0.3 * texture.coarse + 0.25 * texture.medium + 0.03 * texture.fine
    return Material.GRASS, Material.GRASS_DRY, dry, 1 + 0.07 * texture.medium


def _scrub(land: Landscape, texture: _Texture) -> _Parts:
    """Bushes of some ten metres over dry grass, soil and stones."""
    closure = 1.0 + 0.6 * texture.coarse
    bushes = 1 / (1 + np.exp(-4 * (texture.fine * 0.9 + 0.9 * texture.medium + closure)))
    floor = np.where(texture.medium > 0.3, Material.GRASS_DRY, Material.SOIL_DARK)
    return floor, Material.SHRUB, bushes, 0.97 + 0.06 * texture.fine


def _wetland(land: Landscape, texture: _Texture) -> _Parts:
    """Reed beds between mud and shallow pools."""
    pool = 1.2 * texture.medium + 0.3 * texture.fine + 0.25 * texture.coarse
    floor = np.where(pool > 0.85, Material.RIVER, Material.MUD)
    reed = 1 / (1 + np.exp(4 * (pool - 0.6)))
    return floor, Material.REED, reed, 1 + 0.05 * texture.fine


def _bare(land: Landscape, texture: _Texture) -> _Parts:
    """Sand at the shore, rock and rubble elsewhere, with sparse plants."""
    shore = land.height < np.quantile(land.height, 0.3)
    ground = np.where(shore, Material.SAND, Material.ROCK)
    soil = np.where(texture.coarse > 0.3, Material.SOIL_BRIGHT, Material.SOIL_DARK)
    other = np.where(texture.medium > 0.5, Material.GRASS_DRY, soil)
    mixed = 0.4 + 0.25 * texture.medium + 0.2 * texture.coarse
    return ground, other, mixed, 1 + 0.09 * texture.medium + 0.05 * texture.fine


def _urban(land: Landscape, texture: _Texture) -> _Parts:
    """Streets in a grid around each town centre; houses, gardens, yards and halls between."""
    shape = land.codes.shape
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    distance = np.full(shape, np.inf, np.float32)
    nearest = np.zeros(shape, int)
    for town, (row, col, _) in enumerate(land.towns):
        from_town = np.hypot(rows - np.float32(row), cols - np.float32(col))
        nearest[from_town < distance] = town
        distance = np.minimum(distance, from_town)
    bearing = land.towns[nearest, 2].astype(np.float32)
    u = rows * np.cos(bearing) + cols * np.sin(bearing)
    v = cols * np.cos(bearing) - rows * np.sin(bearing)
    street = (np.mod(u, 9) < 1.1) | (np.mod(v, 13) < 1.1)
    block = mix(mix(np.floor(u / 9).astype(int), np.floor(v / 13).astype(int)), nearest)
    kind = (block % 1000).astype(np.float32) / 1000
    # The centre is dense, the outskirts green.
    density = np.clip(1.05 - distance / (shape[0] / 9), 0.25, 0.9)
    roof = np.select(
        [kind < 0.04, kind < 0.2], [Material.WHITE_ROOF, Material.CONCRETE], Material.TILES
    )
    built = np.where(street, Material.ASPHALT, roof)
    green = np.where(texture.coarse > 0.4, Material.GRASS_DRY, Material.GRASS)
    garden = np.clip(1.1 * (texture.uniform - density) + 0.45, 0.05, 0.95)
    hall = kind < 0.14
    share = np.where(street, 0.12, np.where(hall, 0.04, garden))
    share = np.where(land.is_road, 0.1, share)
    built = np.where(land.is_road, Material.ASPHALT, built)
    return built, green, share, 1 + 0.16 * texture.fine


_CLASSES: dict[int, Callable[[Landscape, _Texture], _Parts]] = {
    cover.WATER: _water,
    cover.AGRICULTURE: _agriculture,
    cover.FOREST: _forest,
    cover.GRASSLAND: _grassland,
    cover.SCRUB: _scrub,
    cover.WETLAND: _wetland,
    cover.BARE: _bare,
    cover.URBAN: _urban,
}


def _hillshade(height: np.ndarray) -> np.ndarray:
    """Returns the light on slopes relative to level ground, sun in the south-east."""
    down, right = np.gradient(height)
    scale = 0.09 / max(float(np.hypot(down, right).std()), 1e-6)
    # Slopes that fall towards the south-east (down and right) face the sun.
    light: np.ndarray = np.clip(1 - scale * (right + down) * np.float32(0.7), 0.7, 1.3)
    return light


def _at(values: np.ndarray | float, where: np.ndarray) -> np.ndarray | float:
    return values[where] if isinstance(values, np.ndarray) else values
