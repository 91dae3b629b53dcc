"""A small exported model and small rasters for the tests of prediction.

The model has the shape of the real one in small: strided and dilated context (stride 4), the
export's signature, and stored values in. Its convolutions read no further than 24 px.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from fakes.small_export import BANDS, small_info
from rasterio import Affine

from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration, ModelInfo
from serving.config import PredictConfig
from serving.engines import Engine
from serving.options import PredictionOptions, options_of
from serving.postprocess import Cleaning
from serving.scene_prediction import ScenePrediction

MARGIN_PX = 32
STRIDE = 8
RAW = ("--min-object-size", "0", "--engine", "tensorflow", "--no-picture", "--no-stac")
"""Flags for what the network says, and no more."""
OWN_ENGINE = ("--min-object-size", "0", "--no-picture", "--no-stac")
"""The same by the engine that is chosen where none is named: OpenVINO, where it is installed, which
starts in a fraction of TensorFlow's seconds. For programs in processes of their own."""
PLAIN = ("--no-picture", "--no-stac")
"""Flags for a map without the files that take long."""
BLEND = ("--mode", "blend", "--patch-size", "64", "--patch-overlap", "32")


def model_info(**changes: Any) -> ModelInfo:
    """Returns the contract of the small model."""
    own: dict[str, Any] = {
        "name": "small",
        "class_codes": load_legend("landcover9").codes[:5],
        "size_multiple": STRIDE,
        "receptive_field_px": 2 * MARGIN_PX,
        "margin_px": MARGIN_PX,
        "calibration": Calibration(),
        "encoder": "",
        "weights_sha256": "0" * 64,
    }
    return small_info(**own | changes)


@dataclass(frozen=True, kw_only=True)
class SmallExport:
    """An export on disk."""

    folder: Path
    info: ModelInfo

    def untiled(self, image: np.ndarray) -> np.ndarray:
        """Returns probabilities of a whole raster at once, [height, width, classes].

        Args:
            image: Stored values, uint16 [bands, height, width].
        """
        import tensorflow as tf

        height, width = image.shape[1:]
        padding = [(0, -height % STRIDE), (0, -width % STRIDE), (0, 0)]
        padded = np.pad(np.moveaxis(image, 0, -1), padding)[None]
        serve = _loaded(self.folder).signatures["serving_default"]
        found = serve(image=tf.constant(padded))["probabilities"][0].numpy()
        return found[:height, :width]


def arguments(export: SmallExport, images: list[Path], out: Path, *flags: str) -> list[str]:
    """Returns the command line that maps `images`."""
    paths = [str(path) for path in images]
    model = ["--model-path", str(export.folder)]
    return [*model, "--input-image", *paths, "--output-map", str(out), *flags]


def prediction(export: SmallExport, image: Path, out: Path) -> ScenePrediction:
    """Returns a prediction by the highest version beside the export's own."""
    options = predict_options(export.info, engine="tensorflow")
    return ScenePrediction(image, out, Engine(export.folder.parent, options.network), options)


def linked_export(export: SmallExport, info: ModelInfo, folder: Path) -> SmallExport:
    """Returns an export of the same network under another contract."""
    folder.mkdir(parents=True)
    for item in export.folder.iterdir():
        if item.name != "model.json":
            (folder / item.name).symlink_to(item)
    info.save(folder)
    return SmallExport(folder=folder, info=info)


@cache
def _loaded(folder: Path) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(folder))


def write_export(folder: Path) -> SmallExport:
    """Writes a SavedModel with the export's signature: a strided network of random weights."""
    import tensorflow as tf

    info = model_info()
    rng = np.random.default_rng(7)

    class Network(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            shapes = [(5, 5, 4, 8), (3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 16, 5)]
            self.kernels = [
                tf.Variable(rng.normal(0, 1.6 / np.sqrt(np.prod(s[:3])), s), dtype=tf.float32)
                for s in shapes
            ]

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 4], tf.uint16, "image")])
        def serve(self, image: Any) -> dict[str, Any]:
            nodata = tf.reduce_all(tf.equal(image, 0), axis=-1, keepdims=True)
            x = tf.where(nodata, 0.0, tf.cast(image, tf.float32) * 1e-4 - 0.1)
            fine = tf.nn.relu(tf.nn.conv2d(x * 8, self.kernels[0], 1, "SAME"))
            y = fine
            for kernel in self.kernels[1:4]:
                # Explicit padding: "SAME" with stride 2 would pad by the size's parity.
                y = tf.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]])
                y = tf.nn.relu(tf.nn.conv2d(y, kernel, 2, "VALID"))
            y = tf.repeat(tf.repeat(y, 8, axis=1), 8, axis=2)
            logits = 6 * tf.nn.conv2d(tf.concat([fine, y], -1), self.kernels[4], 1, "SAME")
            probabilities = tf.nn.softmax(logits)
            codes = tf.gather(tf.constant(info.class_codes, tf.uint8), tf.argmax(logits, -1))
            return {
                "classes": tf.where(nodata[..., 0], tf.constant(0, tf.uint8), codes),
                "confidence": tf.where(nodata[..., 0], 0.0, tf.reduce_max(probabilities, -1)),
                "probabilities": probabilities,
            }

    network = Network()
    tf.saved_model.save(network, str(folder), signatures={"serving_default": network.serve})
    info.save(folder)
    return SmallExport(folder=folder, info=info)


def write_raster(
    path: Path,
    height: int,
    width: int,
    *,
    seed: int = 0,
    names: tuple[str, ...] | None = BANDS,
    nodata_columns: int = 0,
    crs: str | None = "EPSG:32634",
    pixel_m: float = 10.0,
    origin: tuple[float, float] = (600_000.0, 4_200_000.0),
    scaled: bool = True,
) -> np.ndarray:
    """Writes a smooth random uint16 raster in prepared units and returns it, [bands, h, w]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(2500, 900, (len(BANDS), -(-height // 6) + 2, -(-width // 6) + 2))
    smooth = np.kron(coarse, np.ones((1, 6, 6)))[:, :height, :width]
    image = np.clip(smooth + rng.normal(0, 80, smooth.shape), 1001, 9000).astype(np.uint16)
    image[:, :, :nodata_columns] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=len(image),
        dtype="uint16",
        nodata=0,
        crs=crs,
        transform=Affine(pixel_m, 0, origin[0], 0, -pixel_m, origin[1]),
    ) as dataset:
        dataset.write(image)
        if names:
            dataset.descriptions = names
        if scaled:
            dataset.scales, dataset.offsets = (1e-4,) * len(image), (-0.1,) * len(image)
    return image


def write_rasters(folder: Path, names: str, height: int = 40, width: int = 40) -> list[Path]:
    """Writes a raster for each letter of `names`, all of the same ground, and returns them."""
    paths = [folder / f"{name}.tif" for name in names]
    for path in paths:
        write_raster(path, height, width)
    return paths


def predict_options(info: ModelInfo | None = None, **flags: Any) -> PredictionOptions:
    """Returns the options of a command with these flags and the defaults of all others.

    Args:
        info: Contract of the model, None for that of the small one.
        **flags: Fields of `PredictConfig`.
    """
    paths = {"model_path": Path(), "input_image": (), "output_map": Path()}
    return options_of(PredictConfig(**paths, **flags), info or model_info())


def cleaning(sieve: Mapping[int, int] | None = None, **flags: Any) -> Cleaning:
    """Returns the cleaning of a command with these flags and a sieve by dense class."""
    info = model_info(class_codes=load_legend("landcover9").codes)
    found = predict_options(info, **flags).cleaning
    return replace(found, sieve=sieve or {})
