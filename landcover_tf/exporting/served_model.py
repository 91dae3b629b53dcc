"""A trained network that answers stored pixel values, as TensorFlow Serving loads it.

Everything between a stored value and a class code is in the graph: no-data fill, scale and
offset, normalizer, network, calibration. A caller cannot normalise differently from training.
"""

import json
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from landcover_tf.errors import ModelError
from landcover_tf.model_info import ModelInfo

DTYPES = ("uint8", "int16", "uint16", "float32")
"""Stored types whose values float32 holds exactly."""

Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """The network between stored values and class codes; what an export contains.

    Where every band holds the no-data value, `classes` is the legend's no-data code and
    `confidence` is 0; `probabilities` are the network's answer for a pixel of reflectance 0.
    """

    def __init__(self, network: keras.Model, info: ModelInfo) -> None:
        super().__init__(name="served_model")
        self._logits = _frozen(network)
        self._info = _Constants(info)
        stored = tf.TensorSpec([None, None, None, len(info.bands)], info.dtype, name="image")
        packed = tf.TensorSpec([None], tf.string, name="image_bytes")
        size = tf.TensorSpec([None, 2], tf.int32, name="size")
        asked = tf.TensorSpec([None], tf.string, name="request")
        graph = partial(tf.function, autograph=False)
        self.serving_default = graph(self._predict, input_signature=[stored])
        self.classify = graph(self._classify, input_signature=[stored])
        self.predict_bytes = graph(self._predict_bytes, input_signature=[packed, size])
        self.describe = graph(self._describe, input_signature=[asked])

    def _predict(self, image: tf.Tensor) -> Outputs:
        constants = self._info
        image = constants.checked(image)
        # Float32 holds 16-bit values exactly, and every engine compares floats.
        stored = tf.cast(image, tf.float32)
        nodata = tf.reduce_all(tf.equal(stored, constants.nodata), axis=-1)
        reflectance = stored * constants.scale + constants.offset
        reflectance = tf.where(tf.expand_dims(nodata, -1), 0.0, reflectance)
        (logits,) = self._logits(reflectance)
        probabilities = tf.nn.softmax(logits * constants.factor + constants.bias)
        index = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        index = tf.where(nodata, len(constants.codes) - 1, index)
        return {
            "classes": tf.gather(constants.codes, index),
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
            tf.debugging.Assert(
                same,
                ["all images of a request must have one size, and with --enable_batching all "
                 "requests that the server joins; got", size],
            ),
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

    def _describe(self, request: tf.Tensor) -> Outputs:
        """Returns `model.json` once per request, so that a client knows what it talks to.

        A server's own metadata names tensors only: no band, no class, no data hash.
        """
        return {"model_json": tf.fill(tf.shape(request), self._info.model_json)}


class _Constants:
    """What the graph needs of a ModelInfo; a plain object, so that TensorFlow tracks nothing."""

    def __init__(self, info: ModelInfo) -> None:
        if info.dtype not in DTYPES:
            raise ModelError(f"an export takes {', '.join(DTYPES)} images, got {info.dtype}")
        self.dtype = tf.as_dtype(info.dtype)
        self.bands = len(info.bands)
        self.pixel_bytes = self.bands * self.dtype.size
        self.nodata = np.float32(info.nodata)
        self.scale = np.array([band.scale for band in info.bands], np.float32)
        self.offset = np.array([band.offset for band in info.bands], np.float32)
        self.factor = np.array(info.calibration.scale, np.float32)
        self.bias = np.array(info.calibration.bias, np.float32)
        # The no-data code stands behind the classes' own.
        self.codes = np.array([*info.class_codes, info.legend.nodata], np.uint8)
        self.multiple = info.size_multiple
        self.model_json = json.dumps(info.to_dict())

    def checked(self, image: tf.Tensor) -> tf.Tensor:
        """Returns `image` after an in-graph check of its height and width."""
        size = tf.shape(image)[1:3]
        fits = tf.reduce_all(tf.equal(size % self.multiple, 0)) & tf.reduce_all(size > 0)
        message = f"image height and width must be multiples of {self.multiple}, got"
        with tf.control_dependencies([tf.debugging.Assert(fits, [message, size])]):
            return tf.identity(image)


def _frozen(network: keras.Model) -> "tf.types.experimental.ConcreteFunction":
    """Returns reflectance -> [logits] with the weights as constants of one function.

    Constants are stored once however many signatures call the function, where an exported Keras
    model stores each variable twice (keras-team/keras#23553). They also let TensorFlow merge
    batch normalization into the convolutions, in the server as in the local predictor.
    """
    function = tf.function(lambda image: network(image, training=False), autograph=False)
    spec = tf.TensorSpec([None, *network.input_shape[1:]], tf.float32)
    return convert_variables_to_constants_v2(function.get_concrete_function(spec))


def _serialized(values: tf.Tensor) -> tf.Tensor:
    signature = tf.TensorSpec([], tf.string)
    return tf.map_fn(tf.io.serialize_tensor, values, fn_output_signature=signature)
