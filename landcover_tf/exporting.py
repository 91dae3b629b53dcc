"""A trained network as a SavedModel that answers stored pixel values, for TensorFlow Serving.

Everything between a stored value and a class code is in the graph: no-data fill, scale and
offset, normalizer, network, temperature. A caller cannot normalise differently from training.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import ModelError
from landcover_tf.files import atomic_folder
from landcover_tf.model_info import ModelInfo, ModelSpec
from landcover_tf.warmup import write_warmup

if TYPE_CHECKING:
    from landcover_tf.models.receptive_field import ReceptiveField

TOLERANCE = 1e-5
"""Largest difference in probability between the export and the Keras model."""

Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """The network between stored values and class codes; what an export contains.

    Where every band holds the no-data value, `classes` is the legend's no-data code and
    `confidence` is 0; `probabilities` are the network's answer for a pixel of reflectance 0.
    """

    def __init__(self, network: keras.Model, info: ModelInfo) -> None:
        super().__init__(name="served_model")
        # Only the weights are tracked. A tracked Keras model would store each of them twice,
        # on disk and in the server's memory (keras-team/keras#23553), hence the closure.
        self.weights = [variable.value for variable in network.variables]
        self._logits: Callable[[tf.Tensor], tf.Tensor] = lambda x: network(x, training=False)
        self._info = _Constants(info)
        stored = tf.TensorSpec([None, None, None, len(info.bands)], info.dtype, name="image")
        packed = tf.TensorSpec([None], tf.string, name="image_bytes")
        size = tf.TensorSpec([None, 2], tf.int32, name="size")
        self.serving_default = tf.function(self._predict, input_signature=[stored])
        self.classify = tf.function(self._classify, input_signature=[stored])
        self.predict_bytes = tf.function(self._predict_bytes, input_signature=[packed, size])

    def _predict(self, image: tf.Tensor) -> Outputs:
        constants = self._info
        image = constants.checked(image)
        nodata = tf.reduce_all(tf.equal(image, constants.nodata), axis=-1)
        reflectance = tf.cast(image, tf.float32) * constants.scale + constants.offset
        reflectance = tf.where(nodata[..., tf.newaxis], 0.0, reflectance)
        logits = self._logits(reflectance)
        probabilities = tf.nn.softmax(logits / constants.temperature)
        codes = tf.gather(tf.constant(constants.codes), tf.argmax(logits, axis=-1))
        return {
            "classes": tf.where(nodata, constants.nodata_code, codes, name="classes"),
            "confidence": tf.where(nodata, 0.0, tf.reduce_max(probabilities, axis=-1)),
            "probabilities": probabilities,
        }

    def _classify(self, image: tf.Tensor) -> Outputs:
        return {"classes": self._predict(image)["classes"]}

    def _predict_bytes(self, image_bytes: tf.Tensor, size: tf.Tensor) -> Outputs:
        """REST's way: raw little-endian images in, serialized TensorProtos out.

        The names end in `_bytes`, so TensorFlow Serving reads and writes them as base64.
        `serialize_tensor` is the one stock kernel that turns numbers into a string.
        """
        same = tf.reduce_all(tf.equal(size, size[:1]))
        expected = size[0, 0] * size[0, 1] * self._info.pixel_bytes
        lengths = tf.strings.length(image_bytes)
        checks = [
            tf.debugging.Assert(same, ["all images of a request must have one size, got", size]),
            tf.debugging.Assert(
                tf.reduce_all(tf.equal(lengths, expected)),
                [f"image_bytes must hold height x width x {self._info.bands} little-endian "
                 f"{self._info.dtype.name} values, which are", expected, "bytes; got", lengths],
            ),
        ]  # fmt: skip
        with tf.control_dependencies(checks):
            flat = tf.io.decode_raw(image_bytes, self._info.dtype)
        shape = [-1, size[0, 0], size[0, 1], self._info.bands]
        outputs = self._predict(tf.reshape(flat, shape))
        return {f"{name}_bytes": _serialized(outputs[name]) for name in outputs}


class _Constants:
    """What the graph needs of a ModelInfo; a plain object, so that TensorFlow tracks nothing."""

    def __init__(self, info: ModelInfo) -> None:
        self.dtype = tf.as_dtype(info.dtype)
        self.bands = len(info.bands)
        self.pixel_bytes = self.bands * self.dtype.size
        self.nodata = np.asarray(info.nodata, self.dtype.as_numpy_dtype)
        self.nodata_code = np.uint8(info.legend.nodata)
        self.scale = np.array([band.scale for band in info.bands], np.float32)
        self.offset = np.array([band.offset for band in info.bands], np.float32)
        self.temperature = np.float32(info.temperature)
        self.codes = np.array(info.class_codes, np.uint8)
        self.multiple = info.size_multiple

    def checked(self, image: tf.Tensor) -> tf.Tensor:
        """Returns `image` after an in-graph check of its height and width."""
        size = tf.shape(image)[1:3]
        fits = tf.reduce_all(tf.equal(size % self.multiple, 0)) & tf.reduce_all(size > 0)
        message = f"image height and width must be multiples of {self.multiple}, got"
        with tf.control_dependencies([tf.debugging.Assert(fits, [message, size])]):
            return tf.identity(image)


def describe(
    spec: ModelSpec,
    dataset: DatasetInfo,
    field: "ReceptiveField",
    *,
    name: str,
    version: int,
    patch_size: int,
    temperature: float,
    metrics: Mapping[str, Any],
    weights_sha256: str,
    software: Mapping[str, str],
) -> ModelInfo:
    """Returns the contract of the export of one trained network."""
    pixels = dataset.splits["train"].class_pixels if "train" in dataset.splits else {}
    total = sum(pixels.values())
    return ModelInfo(
        name=name,
        version=version,
        bands=dataset.bands,
        dtype=dataset.dtype,
        nodata=dataset.nodata,
        resolution_m=dataset.resolution_m,
        legend=dataset.legend,
        class_codes=spec.class_codes,
        patch_size=patch_size,
        size_multiple=field.stride_px,
        receptive_field_px=field.field_px,
        margin_px=field.margin_px,
        temperature=temperature,
        encoder=spec.encoder,
        normalizer=spec.normalizer.to_dict(),
        statistics=dataset.statistics.to_dict(),
        class_fractions={str(code): n / total for code, n in sorted(pixels.items())}
        if total
        else {},
        metrics=metrics,
        data_hash=dataset.data_hash,
        weights_sha256=weights_sha256,
        software=software,
    )


def write_export(
    network: keras.Model,
    info: ModelInfo,
    folder: Path,
    *,
    check_images: np.ndarray,
    extras: Mapping[str, Callable[[Path, Path, np.ndarray], None]] | None = None,
) -> "ExportCheck":
    """Writes a version folder, whole or not at all, and returns how exactly it answers.

    Args:
        network: Reflectance [batch, height, width, bands] to logits.
        info: The contract, written as `model.json`.
        folder: `.../<name>/<version>`; must not exist.
        check_images: Stored values, [batch, height, width, bands], on which the written model
            must answer what `network` answers.
        extras: Writers of further formats by subfolder name, called with the SavedModel, the
            subfolder and the check images.

    Raises:
        ModelError: The written model answers differently from the Keras model.
        OutputError: The folder exists or cannot be written.
    """
    with atomic_folder(folder) as temporary:
        module = ServedModel(network, info)
        signatures = {name: getattr(module, name) for name in info.signatures}
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        # TensorFlow's fingerprint and empty assets folder mean nothing to a server.
        shutil.rmtree(temporary / "assets", ignore_errors=True)
        write_warmup(temporary, info)
        info.save(temporary)
        check = check_export(temporary, network, info, check_images)
        for name, write in (extras or {}).items():
            (temporary / name).mkdir()
            write(temporary, temporary / name, check_images)
    return check


@dataclass(frozen=True, kw_only=True)
class ExportCheck:
    """How an export differs from the Keras model on the check images."""

    pixels: int
    max_probability_difference: float
    different_classes: int


def check_export(
    folder: Path, network: keras.Model, info: ModelInfo, images: np.ndarray
) -> ExportCheck:
    """Returns the differences between a written SavedModel and the Keras model.

    Raises:
        ModelError: A probability differs by more than `TOLERANCE`, or a class where the
            probabilities are not tied to within it.
    """
    outputs = tf.saved_model.load(str(folder)).signatures["serving_default"](
        image=tf.constant(images)
    )
    expected = keras_probabilities(network, info, images)
    got = outputs["probabilities"].numpy()
    difference = float(np.abs(got - expected).max())
    codes = np.array(info.class_codes, np.uint8)[expected.argmax(axis=-1)]
    codes[(images == images.dtype.type(info.nodata)).all(axis=-1)] = info.legend.nodata
    different = codes != outputs["classes"].numpy()
    ranked = np.sort(expected, axis=-1)
    tied = ranked[..., -1] - ranked[..., -2] <= TOLERANCE if ranked.shape[-1] > 1 else different
    if not difference <= TOLERANCE or (different & ~tied).any():
        raise ModelError(
            f"the exported model differs from the Keras model: probabilities by {difference:.2g}, "
            f"{int(different.sum())} of {different.size} classes; nothing was written"
        )
    return ExportCheck(
        pixels=different.size,
        max_probability_difference=difference,
        different_classes=int(different.sum()),
    )


def keras_probabilities(network: keras.Model, info: ModelInfo, images: np.ndarray) -> np.ndarray:
    """Returns class probabilities of stored values, computed outside the export's graph.

    Args:
        network: Reflectance to logits.
        info: Scale, offset, no-data value and temperature.
        images: Stored values, [batch, height, width, bands].

    Returns:
        Probabilities, float32 [batch, height, width, classes].
    """
    scale = np.array([band.scale for band in info.bands], np.float32)
    offset = np.array([band.offset for band in info.bands], np.float32)
    reflectance = images.astype(np.float32) * scale + offset
    reflectance[(images == images.dtype.type(info.nodata)).all(axis=-1)] = 0
    logits = np.asarray(network(reflectance, training=False)) / np.float32(info.temperature)
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def weights_hash(network: keras.Model) -> str:
    """Returns the SHA-256 of all weights in order, independent of the file they are in."""
    digest = hashlib.sha256()
    for variable in network.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _serialized(values: tf.Tensor) -> tf.Tensor:
    signature = tf.TensorSpec([], tf.string)
    return tf.map_fn(tf.io.serialize_tensor, values, fn_output_signature=signature)
