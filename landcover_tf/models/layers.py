"""Layers that the network needs beyond Keras' own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ModelError

PACKAGE = "landcover_tf"


@keras.saving.register_keras_serializable(package=PACKAGE)
class ReflectanceNormalizer(keras.layers.Layer):
    """Returns (f(clip(reflectance, clip_min, clip_max)) - shift) * factor, per band.

    f(r) is r, or log(r + log_offset) where there is one. The layer has no weights: its numbers
    are part of the model's configuration, so a model file cannot be used with another
    normalization by accident. It always computes in float32, because a narrow band range under
    float16 would lose most of its levels.
    """

    def __init__(
        self,
        clip_min: Sequence[float],
        clip_max: Sequence[float],
        shift: Sequence[float],
        factor: Sequence[float],
        log_offset: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.clip_min = [float(v) for v in clip_min]
        self.clip_max = [float(v) for v in clip_max]
        self.shift = [float(v) for v in shift]
        self.factor = [float(v) for v in factor]
        self.log_offset = None if log_offset is None else float(log_offset)

    @classmethod
    def of(cls, normalizer: Normalizer, **kwargs: Any) -> "ReflectanceNormalizer":
        """Returns the layer that computes what `normalizer.apply` computes."""
        return cls(
            normalizer.clip_min,
            normalizer.clip_max,
            normalizer.shift,
            normalizer.factor,
            normalizer.log_offset,
            **kwargs,
        )

    def call(self, inputs):
        low, high, shift, factor = (
            ops.convert_to_tensor(v, dtype="float32")
            for v in (self.clip_min, self.clip_max, self.shift, self.factor)
        )
        # minimum and maximum broadcast per band on every backend; clip does not.
        clipped = ops.minimum(ops.maximum(inputs, low), high)
        if self.log_offset is not None:
            clipped = ops.log(clipped + self.log_offset)
        return (clipped - shift) * factor

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "clip_min": self.clip_min,
            "clip_max": self.clip_max,
            "shift": self.shift,
            "factor": self.factor,
            "log_offset": self.log_offset,
        }


@keras.saving.register_keras_serializable(package=PACKAGE)
class LocalStatistics(keras.layers.Layer):
    """Returns the image with its mean and standard deviation in a square window about each pixel.

    Convolutions learn a variance, the simplest measure of texture, only slowly. The layer has no
    weights and computes in float32, because variances are differences of larger numbers. Pixels
    beyond the image do not count.

    Args:
        widths: Widths of the windows in pixels, odd; each adds twice the image's channels.
    """

    def __init__(self, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.widths = [int(width) for width in widths]

    def call(self, inputs):
        parts = [inputs]
        for width in self.widths:
            share = self._share(inputs, width)
            mean = self._sum(inputs, width) / share
            variance = self._sum(ops.square(inputs), width) / share - ops.square(mean)
            # The square root has no slope at 0.
            parts += [mean, ops.sqrt(ops.maximum(variance, 0.0) + 1e-4)]
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] * (1 + 2 * len(self.widths)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"widths": self.widths}

    @staticmethod
    def _share(x, width: int):
        """Returns each window's share inside the image, float32 [1, height, width, 1]."""
        # Counted along rows and columns. Pooling an image of ones instead is a constant of the
        # graph, which XLA works out pixel by pixel at compile time: minutes for a batch of chips.
        edge = width // 2
        counts = []
        for size in ops.shape(x)[1:3]:
            place = ops.arange(size, dtype="int32")
            inside = 1 + ops.minimum(place, edge) + ops.minimum(size - 1 - place, edge)
            counts.append(ops.cast(inside, "float32") / width)
        rows, columns = counts
        return ops.reshape(rows, (1, -1, 1, 1)) * ops.reshape(columns, (1, 1, -1, 1))

    @staticmethod
    def _sum(x, width: int):
        # Zeros are added by hand, because backends disagree on what padding weighs in an average.
        edge = width // 2
        padded = ops.pad(x, [[0, 0], [edge, edge], [edge, edge], [0, 0]])
        return ops.average_pool(padded, width, 1, "valid")


@keras.saving.register_keras_serializable(package=PACKAGE)
class SizeMultiple(keras.layers.Layer):
    """Returns its input, an image whose height and width must be multiples of `multiple`.

    Without it a wrong patch size fails deep in the decoder, with a message about concatenation.
    Sizes that are unknown while a graph is traced are not checked.
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = int(multiple)

    def call(self, inputs):
        for size in inputs.shape[1:3]:
            if isinstance(size, int) and size % self.multiple:
                raise ModelError(
                    f"the network needs a height and width that are multiples of {self.multiple}, "
                    f"got {inputs.shape[1]}x{inputs.shape[2]}; choose --patch-size accordingly"
                )
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"multiple": self.multiple}
