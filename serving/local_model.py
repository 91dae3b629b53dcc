"""The exported SavedModel run by TensorFlow in this process."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import ModelError
from landcover_tf.model_info import ModelInfo
from landcover_tf.system.quiet import start_tensorflow
from serving.config import Precision
from serving.row_band_content import LEVELS

KEPT_SHAPES = 2
"""A window and its quarter turn."""

_BFLOAT16_OPTION = "auto_mixed_precision_onednn_bfloat16"
_DECIDED_AT_ONCE = 2**16


class TensorFlowModel:
    """A SavedModel called through one function of fixed shape per input shape; few are kept.

    The export holds its weights as constants already, so TensorFlow folds each batch
    normalisation into its convolution when the function is first run.
    """

    one_shape = True

    def __init__(self, folder: Path, info: ModelInfo, *, precision: Precision = "float32") -> None:
        """Notes an export, which is loaded when first needed.

        Args:
            folder: Version folder of the export.
            info: Its contract.
            precision: `bf16` lets convolutions run in bfloat16, which changes results slightly.
        """
        self.name = f"tensorflow {precision}"
        self._folder = folder
        self._info = info
        self._precision = precision
        self._functions: dict[tuple[str, tuple[int, ...]], Any] = {}

    @cached_property
    def _tf(self) -> Any:
        start_tensorflow()
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        return tf

    @cached_property
    def _module(self) -> Any:
        try:
            module = self._tf.saved_model.load(str(self._folder))
            module.signatures["serving_default"]
        except (OSError, KeyError, ValueError) as error:
            raise ModelError(f"{self._folder} is not a loadable export: {error}") from error
        return module

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None:
        """Loads TensorFlow and the export, and traces the function for batches of a shape.

        Raises:
            ModelError: TensorFlow cannot load the export.
        """
        self._function("decide" if deciding else "probabilities", shape)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes]."""
        return self._run("probabilities", batch)

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""
        return self._run("decide", batch)

    def _run(self, what: str, batch: np.ndarray) -> np.ndarray:
        run, values = self._function(what, batch.shape), self._tf.constant(batch)
        if self._precision == "float32":
            return run(values).numpy()
        # The switch is global and read at every call, by other models in this process as well.
        switch = self._tf.config.optimizer.set_experimental_options
        switch({_BFLOAT16_OPTION: True})
        try:
            return run(values).numpy()
        finally:
            switch({_BFLOAT16_OPTION: False})

    def _function(self, what: str, shape: tuple[int, ...]) -> Any:
        if (what, shape) not in self._functions:
            # Each function holds its own folded weights.
            if len(self._functions) >= KEPT_SHAPES:
                self._functions.clear()
            self._functions[what, shape] = self._compile(what, shape)
        return self._functions[what, shape]

    def _compile(self, what: str, shape: tuple[int, ...]) -> Any:
        tf = self._tf
        body = self._probabilities if what == "probabilities" else self._decision
        spec = tf.TensorSpec(shape, self._info.dtype)
        return tf.function(body, autograph=False).get_concrete_function(spec)

    def _probabilities(self, image: Any) -> Any:
        return self._module.signatures["serving_default"](image=image)["probabilities"]

    def _decision(self, image: Any) -> Any:
        tf = self._tf
        probabilities = self._probabilities(image)
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        confidence = tf.round(tf.reduce_max(probabilities, axis=-1) * LEVELS)
        return tf.stack([tf.cast(best, tf.uint8), tf.cast(confidence, tf.uint8)], axis=-1)


def decide(probabilities: np.ndarray) -> np.ndarray:
    """Returns the decision of engines that give probabilities only, uint8 [..., 2]."""
    decision = np.empty((*probabilities.shape[:-1], 2), np.uint8)
    pixels, decided = probabilities.reshape(-1, probabilities.shape[-1]), decision.reshape(-1, 2)
    # In parts, because what lies between takes many times the room of the result.
    for start in range(0, len(pixels), _DECIDED_AT_ONCE):
        part = slice(start, start + _DECIDED_AT_ONCE)
        decided[part, 0] = pixels[part].argmax(axis=-1)
        decided[part, 1] = np.rint(pixels[part].max(axis=-1) * np.float32(LEVELS))
    return decision
