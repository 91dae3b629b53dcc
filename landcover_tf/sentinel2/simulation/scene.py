"""What the sensor measures: the surface through air and clouds, blurred, sampled, with noise."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from landcover_tf.bands import BAND_NAMES, SENTINEL2_L1C
from landcover_tf.sentinel2.simulation import spectra
from landcover_tf.sentinel2.simulation.landscape import Landscape, make_landscape
from landcover_tf.sentinel2.simulation.noise import smooth_noise
from landcover_tf.sentinel2.simulation.surface import Surface, make_surface
from landcover_tf.sentinel2.simulation.weather import Sun, Weather, make_weather


@dataclass(frozen=True, kw_only=True)
class SceneModel:
    """A landscape on a day; `reflectance` renders its bands one at a time."""

    landscape: Landscape
    surface: Surface
    weather: Weather
    sun: Sun
    vigour: np.ndarray
    """Smooth deviation of the near infrared from the materials' tables, float32 [h, w]."""
    tone: np.ndarray
    """Smooth deviation of the visible bands, float32 [h, w]."""
    noise_seed: tuple[int, ...]

    def reflectance(self, band_name: str) -> np.ndarray:
        """Returns the top-of-atmosphere reflectance that the sensor records in one band.

        Args:
            band_name: For example B8A.

        Returns:
            float32 [height, width] on the band's own 10, 20 or 60 m grid; noise makes dark
            pixels slightly negative.
        """
        index = BAND_NAMES.index(band_name)
        ratio = SENTINEL2_L1C[index].resolution_m // 10
        field = ndimage.gaussian_filter(
            self._radiance(index), spectra.PSF_SIGMA_PX[index], mode="nearest"
        )
        sampled = sample(field, ratio)
        floor, gain = spectra.NOISE
        sigma = np.sqrt(floor**2 + (gain * sampled) ** 2)
        rng = np.random.default_rng([*self.noise_seed, index])
        sampled += sigma * rng.standard_normal(sampled.shape, dtype=np.float32)
        return sampled

    def _radiance(self, index: int) -> np.ndarray:
        """Returns the reflectance above the atmosphere before the optics, float32 [h, w]."""
        table = spectra.SURFACE[:, index]
        surface = self.surface
        ground = table[surface.first]
        ground += surface.share * (table[surface.second] - ground)
        # Leaf area drives the bands beyond the red edge, pigments and soil colour the visible.
        ground *= surface.brightness * (1 + (self.vigour if index >= 5 else self.tone))
        weather = self.weather
        direct = 1 - spectra.SKYLIGHT[index]
        ground *= 1 - direct * weather.shadow
        vapour = np.float32(weather.vapour if BAND_NAMES[index] == "B09" else 1.0)
        seen: np.ndarray = spectra.TRANSMITTANCE[index] * vapour * ground
        seen += spectra.RAYLEIGH[index] + np.float32(weather.haze) * spectra.AEROSOL[index]
        seen += weather.opacity * (spectra.CLOUD[index] * (0.75 + 0.25 * weather.opacity) - seen)
        seen += weather.cirrus * spectra.CIRRUS[index]
        return seen


def make_scene(
    *, land_seed: tuple[int, ...], day_seed: tuple[int, ...], size_px: int, cloud_fraction: float
) -> SceneModel:
    """Returns a scene; scenes of one `land_seed` show one landscape on different days."""
    land_rng, day_rng = np.random.default_rng(land_seed), np.random.default_rng(day_seed)
    landscape = make_landscape(land_rng, size_px)
    surface = make_surface(land_rng, landscape)
    sun = Sun(zenith=float(day_rng.uniform(24, 42)), azimuth=float(day_rng.uniform(132, 158)))
    weather = make_weather(day_rng, size_px, cloud_fraction, sun)
    shape = landscape.codes.shape
    return SceneModel(
        landscape=landscape,
        surface=surface,
        weather=weather,
        sun=sun,
        vigour=np.float32(0.1) * smooth_noise(day_rng, shape, 25),
        tone=np.float32(0.1) * smooth_noise(day_rng, shape, 40),
        noise_seed=(*day_seed, 1),
    )


def mirrored(values: np.ndarray, size: int) -> np.ndarray:
    """Returns a square raster continued to `size` rows and columns, mirrored at every seam."""
    missing = size - values.shape[0]
    if missing == 0:
        return values
    return np.pad(values, (0, missing), mode="symmetric")


def sample(field: np.ndarray, ratio: int) -> np.ndarray:
    """Returns a 10 m field at the centres of blocks of `ratio` x `ratio` pixels.

    The centre of an even block lies between four pixels; their mean is taken.
    """
    if ratio == 1:
        return field
    low, high = ratio // 2 - 1, ratio // 2
    centre: np.ndarray = (
        field[low::ratio, low::ratio]
        + field[low::ratio, high::ratio]
        + field[high::ratio, low::ratio]
        + field[high::ratio, high::ratio]
    ) / np.float32(4)
    return centre
