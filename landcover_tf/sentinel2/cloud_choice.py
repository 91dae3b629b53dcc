"""The clouds of a scene, of the source that the settings choose."""

from collections.abc import Mapping

import numpy as np

from landcover_tf.errors import RasterError
from landcover_tf.sentinel2 import cloud_rasters, clouds, resample
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.settings import Settings
from landcover_tf.validity import ValidityBit, has_bit


def projects_shadows(settings: Settings) -> bool:
    """Returns whether the sun is needed: for shadows, where the source of clouds has none."""
    if settings.cloud_source == "mask":
        values = cloud_rasters.parse_values(settings.cloud_mask_values)
        return settings.cloud_shadows and "shadow" not in values.values()
    return settings.cloud_shadows and settings.cloud_source != "none"


def choose_clouds(
    product: SafeProduct,
    settings: Settings,
    *,
    own: CloudMask | None,
    validity: np.ndarray,
    means: Mapping[str, np.ndarray],
) -> tuple[CloudMask, dict[str, float | None]]:
    """Returns the clouds of the chosen source, and what share of the data each source has cloudy.

    Args:
        product: The product.
        settings: Name the source, and what it needs.
        own: The product's own mask, None where it has none.
        validity: Bits at 10 m, uint8 [height, width].
        means: Reflectance at 60 m by band, float32 [height / 6, width / 6]; s2cloudless reads it.

    Raises:
        RasterError: The chosen source has no mask, or a given one is unfit.
    """
    percentage = product.cloud_percentage
    cover = {"metadata": None if percentage is None else percentage / 100}
    coarse = product.grids[60]
    found: dict[str, CloudMask | None] = {
        "product": own,
        "none": CloudMask.none(coarse.height, coarse.width),
    }
    if settings.cloud_mask is not None:
        values = cloud_rasters.parse_values(settings.cloud_mask_values)
        path = cloud_rasters.mask_of(settings.cloud_mask, product)
        found["mask"] = cloud_rasters.read_cloud_mask(path, product, values)
    data_px = _pixels_with_data(validity)
    if settings.cloud_source == "s2cloudless":
        found["s2cloudless"] = clouds.detect_s2cloudless(
            means, data_px == 36, resolution_m=settings.s2cloudless_resolution_m
        )
    for source, mask in found.items():
        if source != "none":
            cover[source] = None if mask is None else mask.cloud_fraction(data_px)
    chosen = found.get(settings.cloud_source)
    if chosen is None:
        raise RasterError(
            f"{product.path} has no cloud mask; choose --cloud-source s2cloudless or none, "
            "or give --cloud-mask"
        )
    return chosen, cover


def _pixels_with_data(validity: np.ndarray) -> np.ndarray:
    """Returns how many of the 36 pixels in each one of 60 m have data, uint32."""
    height, width = validity.shape
    counts = np.zeros((height // 6, width // 6), np.uint32)
    # In parts: the bits of a whole tile would be as large as its validity.
    for start in range(0, height, 1536):
        empty = has_bit(validity[start : start + 1536], ValidityBit.NODATA)
        resample.add_block_sums(~empty, start, counts)
    return counts
