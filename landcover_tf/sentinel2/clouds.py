"""Clouds on the 60 m grid as a source tells of them, or s2cloudless finds them, and their bits."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from landcover_tf.errors import ConfigError, ProductError
from landcover_tf.sentinel2 import resample
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.mask_shapes import dilate, opened, project_shadow
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.validity import ValidityBit

CloudSource = Literal["product", "mask", "s2cloudless", "none"]
NO_SUN = (
    "does not say where the sun was (Mean_Sun_Angle), so shadows cannot be projected; prepare it "
    "with --no-cloud-shadows"
)
"""What is wrong with a product."""
PIXEL_M = 60.0

# The ten bands s2cloudless was trained on, in its order (sentinel2-cloud-detector README).
S2CLOUDLESS_BANDS = ("B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12")
CLOUD_PROBABILITY = 0.4
"""Of s2cloudless, from which a pixel counts as cloud."""
# Skylight is blue, so shaded towns are brighter in green than in the near infrared, as water is.
# They keep 0.07 and more in B08; of the water in a real scene (T33UUB, 27 May 2017) 99 % has less
# than 0.058.
WATER_REFLECTANCE = 0.06


def load_s2cloudless() -> Any:
    """Returns the class of s2cloudless' detector.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        from s2cloudless import S2PixelCloudDetector
    except ImportError:
        raise ConfigError(
            "--cloud-source s2cloudless needs the package s2cloudless; install landcover-tf[clouds]"
        ) from None
    return S2PixelCloudDetector


def detect_s2cloudless(
    reflectance: Mapping[str, np.ndarray],
    valid: np.ndarray,
    *,
    resolution_m: int = 120,
) -> CloudMask:
    """Returns the clouds that s2cloudless finds.

    Args:
        reflectance: Block means of S2CLOUDLESS_BANDS at 60 m with the radiometric offset
            applied, float32 [height, width] each.
        valid: Pixels with data, bool [height, width].
        resolution_m: Grid that it runs on, 60 or 120 m; 60 takes four times as long.

    Raises:
        ConfigError: s2cloudless is not installed.
    """
    # Averaging and dilation of its own are left out: the buffer in metres does that once.
    detector = load_s2cloudless()(
        threshold=CLOUD_PROBABILITY, average_over=1, dilation_size=1, all_bands=False
    )
    factor = resolution_m // 60
    share = _shrink(valid.astype(np.float32), factor)
    has_data = share > 0
    # Means of the pixels with data: the others, at the swath's edge, are darker than black.
    bands = [_shrink(reflectance[n] * valid, factor) for n in S2CLOUDLESS_BANDS]
    pixels = np.stack([band / np.where(has_data, share, 1) for band in bands], axis=-1)
    cloudy = detector.get_cloud_probability_maps(pixels[None])[0] >= CLOUD_PROBABILITY
    height, width = valid.shape
    opaque = (cloudy & has_data).repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]
    nothing = np.zeros_like(opaque)
    return CloudMask(opaque=opaque, cirrus=nothing, snow=nothing)


def cloud_bits(
    clouds: CloudMask,
    product: SafeProduct,
    *,
    green: np.ndarray,
    nir: np.ndarray,
    buffer_m: float,
    shadows: bool,
    dark_reflectance: float,
) -> np.ndarray:
    """Returns CLOUD, CIRRUS, SHADOW, SNOW and BUFFER bits on the 60 m grid.

    Args:
        clouds: Clouds by the chosen source.
        product: For the sun's position.
        green: B03 reflectance at 60 m, float32 [height, width].
        nir: B08 reflectance at 60 m, float32 [height, width].
        buffer_m: Distance from cloud, cirrus and shadow that is doubtful too, in m.
        shadows: Whether to project shadows if the source has none.
        dark_reflectance: B08 below which a pixel can be shadow.

    Returns:
        uint8 [height, width].

    Raises:
        ProductError: Shadows are to be projected and nothing tells where the sun was.
    """
    cloudy = clouds.cloudy
    shadow = clouds.shadow if clouds.shadow is not None else np.zeros_like(cloudy)
    if clouds.shadow is None and shadows:
        if product.sun_zenith_deg is None or product.sun_azimuth_deg is None:
            raise ProductError(f"{product.path} {NO_SUN}")
        # NDWI = (green - nir) / (green + nir) >= 0 without dividing.
        water = (green >= nir) & (nir < WATER_REFLECTANCE)
        candidate = (nir < dark_reflectance) & ~water & ~cloudy
        reach = project_shadow(
            cloudy,
            sun_zenith_deg=product.sun_zenith_deg,
            sun_azimuth_deg=product.sun_azimuth_deg,
            pixel_m=PIXEL_M,
        )
        shadow = opened(reach & candidate)
    doubtful = cloudy | shadow
    buffer = dilate(doubtful, buffer_m, PIXEL_M) & ~doubtful
    bits = np.zeros(cloudy.shape, np.uint8)
    for marked, bit in (
        (clouds.opaque, ValidityBit.CLOUD),
        (clouds.cirrus, ValidityBit.CIRRUS),
        (shadow, ValidityBit.SHADOW),
        (clouds.snow, ValidityBit.SNOW),
        (buffer, ValidityBit.BUFFER),
    ):
        bits[marked] |= np.uint8(bit)
    return bits


def add_coarse_bits(validity: np.ndarray, bits: np.ndarray) -> None:
    """Adds bits of the 60 m grid to those of the 10 m grid.

    Args:
        validity: uint8 [6 * height, 6 * width]; changed in place.
        bits: uint8 [height, width].
    """
    # In parts: the bits of a whole tile, repeated, would be as large as its validity.
    for start in range(0, len(bits), 256):
        rows = slice(start * 6, (start + 256) * 6)
        validity[rows] |= resample.repeat(bits[start : start + 256], 6)


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns means of `factor` x `factor` blocks; the last ones may be incomplete."""
    padding = [(0, -side % factor) for side in image.shape]
    return resample.block_mean(np.pad(image, padding, mode="edge"), factor)
