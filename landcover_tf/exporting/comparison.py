"""Whether a written model answers what the one that it was made from answers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.errors import ModelError
from landcover_tf.model_info import Calibration, ModelInfo

TOLERANCE = 1e-5
"""Largest difference in probability between the export and the Keras model. It is 2e-7 to 2e-6 as a
rule; of a model that oneDNN runs with a temperature of 0.59 it was 1.1e-5."""

Answers = Mapping[str, np.ndarray]
"""By output: `classes`, codes [...], and `probabilities` [..., classes]."""


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
        ModelError: They are more than rounding.
    """
    with _full_float32():
        probabilities = _keras_probabilities(network, info, images)
    codes = np.array(info.class_codes, np.uint8)[probabilities.argmax(axis=-1)]
    codes[(images == images.dtype.type(info.nodata)).all(axis=-1)] = info.legend.nodata
    return differences(
        saved_model_answers(folder, images),
        {"classes": codes, "probabilities": probabilities},
        models=("exported model", "Keras model"),
        tolerance=TOLERANCE,
        calibration=info.calibration,
    )


def differences(
    got: Answers,
    expected: Answers,
    *,
    models: tuple[str, str],
    tolerance: float,
    calibration: Calibration,
) -> ExportCheck:
    """Returns how the answers of a model differ from those of its original.

    Args:
        got: The model's answers.
        expected: The original's answers.
        models: What both are called.
        tolerance: Largest difference in probability without a calibration; one that stretches the
            logits stretches their rounding too.
        calibration: What both apply to their logits.

    Raises:
        ModelError: A probability differs by more, or a class where the original's probabilities
            are not tied to within it.
    """
    limit = tolerance * max(1.0, *map(abs, calibration.scale))
    difference = float(np.abs(got["probabilities"] - expected["probabilities"]).max())
    different = got["classes"] != expected["classes"]
    ranked = np.sort(expected["probabilities"], axis=-1)
    second = ranked[..., -2] if ranked.shape[-1] > 1 else 0
    # One may be lower and the other higher.
    tied = ranked[..., -1] - second <= 2 * limit
    if not difference <= limit or (different & ~tied).any():
        raise ModelError(
            f"the {models[0]} differs from the {models[1]}: probabilities by {difference:.2g}, "
            f"{int(different.sum())} of {different.size} classes; nothing was written"
        )
    return ExportCheck(
        pixels=different.size,
        max_probability_difference=difference,
        different_classes=int(different.sum()),
    )


def saved_model_answers(folder: Path, images: np.ndarray) -> Answers:
    """Returns what the SavedModel in a version folder answers to stored values, in full float32."""
    with _full_float32():
        served = tf.saved_model.load(str(folder)).signatures["serving_default"]
        return {name: value.numpy() for name, value in served(image=tf.constant(images)).items()}


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keeps a GPU from the shortened float32 (TF32) of its tensor cores.

    Its 10 bits would hide a wrong export, and make a right one look wrong.
    """
    shortened = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(shortened)


def _keras_probabilities(network: keras.Model, info: ModelInfo, images: np.ndarray) -> np.ndarray:
    """Returns class probabilities of stored values, computed outside the export's graph.

    Args:
        network: Reflectance to logits.
        info: Scale, offset, no-data value and calibration.
        images: Stored values, [batch, height, width, bands].

    Returns:
        Probabilities, float32 [batch, height, width, classes].
    """
    scale = np.array([band.scale for band in info.bands], np.float32)
    offset = np.array([band.offset for band in info.bands], np.float32)
    reflectance = images.astype(np.float32) * scale + offset
    reflectance[(images == images.dtype.type(info.nodata)).all(axis=-1)] = 0
    logits = info.calibration.apply(np.asarray(network(reflectance, training=False)))
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=-1, keepdims=True))
