"""Clouds and shadows of a product, as `landcover prepare` marks them by default."""

import numpy as np

from landcover_tf.errors import RasterError
from landcover_tf.prepare import PrepareConfig
from landcover_tf.sentinel2 import clouds, resample
from landcover_tf.sentinel2.quality import read_product_clouds
from landcover_tf.sentinel2.scene import STORED_NODATA, STORED_OFFSET, STORED_SCALE, Scene
from landcover_tf.validity import ValidityBit, has_bit

_STRIP_ROWS = 1024
"""One row of inner tiles of the 10 m JP2 files, so that none is decoded twice."""
_GREEN, _NIR = "B03", "B08"


def add_cloud_bits(scene: Scene, validity: np.ndarray) -> None:
    """Adds the bits of clouds, shadows and what is near them; two 10 m bands are decoded for that.

    Args:
        scene: The product's bands.
        validity: Bits of its quality masks, uint8 [height, width]; changed in place.

    Raises:
        RasterError: The product has no cloud mask.
        ProductError: It does not say where the sun was, or a file cannot be decoded.
    """
    product = scene.product
    found = read_product_clouds(product)
    if found is None:
        raise RasterError(
            f"{product.path} has no cloud mask; prepare it with --cloud-source s2cloudless and "
            "predict on the prepared scene"
        )
    means = _means_60m(scene, validity)
    bits = clouds.cloud_bits(
        found,
        product,
        green=means[_GREEN],
        nir=means[_NIR],
        buffer_m=PrepareConfig.cloud_buffer_m,
        shadows=PrepareConfig.cloud_shadows,
        dark_reflectance=PrepareConfig.shadow_nir_reflectance,
    )
    clouds.add_coarse_bits(validity, bits)


def _means_60m(scene: Scene, validity: np.ndarray) -> dict[str, np.ndarray]:
    """Returns reflectance at 60 m as means of the values that a prepared scene stores."""
    product = scene.product
    sums = {name: np.zeros(product.grids[60].shape, np.float32) for name in (_GREEN, _NIR)}
    for strip in product.grids[10].window.strips(_STRIP_ROWS):
        dn = {name: scene.bands.read(name, strip) for name in sums}
        blank = has_bit(validity[strip.slices], ValidityBit.NODATA)
        for values in dn.values():
            blank |= values == product.nodata
        for name, values in dn.items():
            stored = np.where(blank, np.uint16(STORED_NODATA), scene.stored(values, name))
            resample.add_block_sums(stored, strip.row_off, sums[name])
    return {n: total / np.float32(36) * STORED_SCALE + STORED_OFFSET for n, total in sums.items()}
