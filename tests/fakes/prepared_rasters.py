"""The rasters of a prepared scene as arrays."""

import numpy as np
import rasterio

from landcover_tf.sentinel2.prepared import IMAGE, LABELS, VALIDITY, PreparedScene


def image_of(scene: PreparedScene) -> np.ndarray:
    """Returns stored values, uint16 [height, width, bands]."""
    with rasterio.open(scene.folder / IMAGE) as raster:
        return np.moveaxis(raster.read(), 0, -1)


def validity_of(scene: PreparedScene) -> np.ndarray:
    """Returns validity bits, uint8 [height, width]."""
    return _only_band(scene, VALIDITY)


def labels_of(scene: PreparedScene) -> np.ndarray:
    """Returns legend codes, uint8 [height, width]."""
    return _only_band(scene, LABELS)


def _only_band(scene: PreparedScene, name: str) -> np.ndarray:
    with rasterio.open(scene.folder / name) as raster:
        return np.asarray(raster.read(1))
