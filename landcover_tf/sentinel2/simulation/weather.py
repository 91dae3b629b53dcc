"""Clouds with their shadows, cirrus, and the edge of the swath."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from landcover_tf.sentinel2.simulation.noise import fractal_noise


@dataclass(frozen=True, kw_only=True)
class Sun:
    """Where the sun stands, in degrees."""

    zenith: float
    azimuth: float
    """Clockwise from north."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What lies between ground and sensor; arrays are float32 [height, width] at 10 m."""

    opacity: np.ndarray
    """Share of the light that low clouds hide, in [0, 1]."""
    cirrus: np.ndarray
    """Strength of high ice clouds, about [0, 1]."""
    shadow: np.ndarray
    """Share of direct sunlight that clouds take from the ground, in [0, 1]."""
    haze: float
    """Strength of the day's aerosol, 1 is light."""
    vapour: float
    """Factor on the transmittance of the water-vapour band B09."""
    cloudy: np.ndarray
    """Opaque cloud as the 60 m mask has it, bool [height / 6, width / 6]."""
    has_cirrus: np.ndarray
    """Cirrus as the 60 m mask has it, bool [height / 6, width / 6]; never where cloudy."""


def make_weather(
    rng: np.random.Generator, size_px: int, cloud_fraction: float, sun: Sun
) -> Weather:
    """Returns clouds that cover `cloud_fraction` of the 60 m pixels, a quarter of it cirrus."""
    shape = (size_px, size_px)
    haze, vapour = float(rng.uniform(0.7, 1.5)), float(rng.uniform(0.85, 1.1))
    puffs = fractal_noise(rng, shape, min(70, size_px / 5), octaves=6, persistence=0.62)
    veil = fractal_noise(rng, shape, min(260, size_px / 2), octaves=3, persistence=0.4)
    base_m = float(rng.uniform(700, 1600))
    coarse_puffs, coarse_veil = _block_mean(puffs), _block_mean(veil)
    cloudy = _highest(coarse_puffs, np.ones_like(coarse_puffs, bool), 0.75 * cloud_fraction)
    has_cirrus = _highest(coarse_veil, ~cloudy, 0.25 * cloud_fraction)
    opacity = cirrus = np.zeros(shape, np.float32)
    if cloudy.any():
        # Only a thin rim lies outside the mask, as around real clouds.
        opacity = np.clip(0.2 + 2.5 * (puffs - coarse_puffs[cloudy].min()), 0, 1)
    if has_cirrus.any():
        cirrus = np.clip(0.5 + 0.7 * (veil - coarse_veil[has_cirrus].min()), 0, 1.2)
    return Weather(
        opacity=opacity,
        cirrus=cirrus,
        shadow=_shadow(opacity, base_m, sun),
        haze=haze,
        vapour=vapour,
        cloudy=cloudy,
        has_cirrus=has_cirrus,
    )


def outside_swath(
    size_px: int, ratio: int, nodata_fraction: float, *, shift_px: float = 0.0
) -> np.ndarray:
    """Returns True on the pixels that the satellite did not see.

    Args:
        size_px: Height and width at 10 m.
        ratio: Pixel size of the grid wanted, in 10 m pixels: 1, 2 or 6.
        nodata_fraction: Share of pixels outside the swath.
        shift_px: How far the edge is moved inwards, in 10 m pixels.

    Returns:
        bool [size_px / ratio, size_px / ratio].
    """
    count = size_px // ratio
    if nodata_fraction <= 0 or nodata_fraction >= 1:
        return np.full((count, count), nodata_fraction >= 1)
    edge = np.quantile(_eastward(size_px, 6), nodata_fraction)
    outside: np.ndarray = _eastward(size_px, ratio) < edge + shift_px
    return outside


def _eastward(size_px: int, ratio: int) -> np.ndarray:
    """Returns the distance across the track in 10 m pixels, float32 [size, size].

    The track runs about 12 degrees off north, so the western edge of a swath leans.
    """
    centres = (np.arange(size_px // ratio, dtype=np.float32) + np.float32(0.5)) * ratio
    lean = np.deg2rad(12)
    across: np.ndarray = centres * np.float32(np.cos(lean)) + centres[:, None] * np.float32(
        np.sin(lean)
    )
    return across


def _shadow(opacity: np.ndarray, base_m: float, sun: Sun) -> np.ndarray:
    """Returns the clouds' opacity shifted away from the sun and softened.

    Clouds beyond the raster throw no shadow into it.
    """
    reach_px = base_m * np.tan(np.deg2rad(sun.zenith)) / 10
    azimuth = np.deg2rad(sun.azimuth)
    shift = (reach_px * np.cos(azimuth), -reach_px * np.sin(azimuth))
    moved = ndimage.shift(opacity, shift, order=1, mode="constant", cval=0.0)
    shadow: np.ndarray = ndimage.gaussian_filter(moved, 1.0)
    return shadow


def _block_mean(values: np.ndarray) -> np.ndarray:
    """Returns means over 6 x 6 pixels, the 60 m grid."""
    rows, cols = values.shape
    means: np.ndarray = values.reshape(rows // 6, 6, cols // 6, 6).mean(axis=(1, 3))
    return means


def _highest(score: np.ndarray, among: np.ndarray, share: float) -> np.ndarray:
    """Returns True on exactly `share` of all pixels, those of `among` with the highest scores."""
    count = min(round(share * score.size), int(among.sum()))
    chosen = np.zeros(score.size, bool)
    order = np.argsort(np.where(among, score, -np.inf).ravel())
    chosen[order[score.size - count :]] = True
    return chosen.reshape(score.shape)
