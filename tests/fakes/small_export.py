"""A real export of a network of a few hundred weights, written in about a second."""

from pathlib import Path

import numpy as np

from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration, ModelInfo

BANDS = ("B02", "B03", "B04", "B08")
LEGEND = load_legend("landcover9")


def small_info(**changes) -> ModelInfo:
    """Returns the contract of a four-band model of uint16 values."""
    values = dict(
        name="landcover",
        version=1,
        bands=tuple(BandInfo(name=name, scale=1e-4, offset=-0.1) for name in BANDS),
        dtype="uint16",
        nodata=0,
        resolution_m=10.0,
        legend=LEGEND,
        class_codes=LEGEND.codes,
        patch_size=64,
        size_multiple=32,
        receptive_field_px=7,
        margin_px=32,
        calibration=Calibration(method="temperature", scale=(1 / 1.5,)),
        encoder="none",
    )
    return ModelInfo(**(values | changes))


def small_network(info: ModelInfo, *, seed: int = 1):
    """Returns a Keras model from reflectance to logits that is not symmetric in anything."""
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input((None, None, len(info.bands)), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.UpSampling2D(2)(x)
    logits = keras.layers.Conv2D(len(info.class_codes), 3, padding="same", name="logits")(x)
    network = keras.Model(image, logits)
    rng = np.random.default_rng(seed)
    # Fresh statistics would make normalization the identity.
    for variable in network.variables:
        sign = rng.choice([-1, 1], variable.shape) if "kernel" in variable.path else 1
        variable.assign(sign * rng.uniform(0.5, 1.5, variable.shape))
    return network


def stored_images(batch: int, size: int, info: ModelInfo, *, seed: int = 0) -> np.ndarray:
    """Returns smooth stored values with a corner of no data, [batch, size, size, bands]."""
    rng = np.random.default_rng(seed)
    low, high = (10, 200) if np.dtype(info.dtype).itemsize == 1 else (1000, 5000)
    coarse = rng.uniform(low, high, (batch, size // 8, size // 8, len(info.bands)))
    images = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(info.dtype)
    images[0, : size // 4, : size // 4] = info.nodata
    return images


def write_small_export(folder: Path, *, seed: int = 1, **changes) -> ModelInfo:
    """Writes `folder/<name>/<version>` and returns its contract."""
    from landcover_tf.exporting.saved_model import write_export

    info = small_info(**changes)
    write_export(
        small_network(info, seed=seed),
        info,
        folder / info.name / str(info.version),
        check_images=stored_images(1, 64, info),
    )
    return info
