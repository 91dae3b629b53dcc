"""Layers that the network needs beyond Keras' own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from landcover_tf.errors import ModelError
from landcover_tf.normalizer import Normalizer

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
