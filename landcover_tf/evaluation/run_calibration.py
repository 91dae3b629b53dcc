"""The calibration of a run: fitted once on the dataset of its training, kept for the export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from landcover_tf.accuracy.calibration import (
    Reliability,
    at_limit,
    fit_temperature,
    fit_vector,
    negative_log_likelihood,
    softmax,
)
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.evaluation.predictions import Logits, drawn_patches, patches, sample_logits
from landcover_tf.evaluation.regions import labelled_pixels
from landcover_tf.model_info import Calibration
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import json_number, sha256_of, write_json

CALIBRATION_PIXELS = 300_000
"""Validation pixels for the calibration; a few numbers per class need no more."""

WORSE = 0.005
"""Rise of the calibration error on the evaluated split that is told; less comes by chance."""

CalibrationMethod = Literal["temperature", "vector", "none"]


def run_calibration(
    run: RunFolder,
    logits: Logits,
    info: DatasetInfo,
    folder: Path,
    *,
    trained_on: DatasetInfo,
    method: CalibrationMethod,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the run's calibration, fitted on the validation split unless it is there.

    On another dataset than that of the training nothing is fitted or written, because the export
    takes what the run folder holds: the kept calibration applies, whatever its method, or none.

    Args:
        run: A finished run.
        logits: Its network.
        info: The evaluated dataset.
        folder: Where that is.
        trained_on: The dataset of the training.
        method: How to fit; "none" corrects nothing.
        batch_size: Patches per step.
        seed: Decides the pixels.

    Raises:
        RunError: The kept calibration is malformed.
    """
    fitted_for = {"weights_sha256": sha256_of(run.best_weights), "data_hash": trained_on.data_hash}
    kept = _kept(run, fitted_for, len(trained_on.legend.classes))
    if info.data_hash != trained_on.data_hash:
        return kept if kept and method != "none" else _numbers(Calibration()) | fitted_for
    if kept and kept.get("method") == method:
        return kept
    only = drawn_patches(info, "val", seed=seed)
    outputs, label = sample_logits(
        logits,
        patches(info, folder, "val", batch_size=batch_size, label="calibration", only=only),
        pixels=CALIBRATION_PIXELS,
        labelled_pixels=labelled_pixels(info, folder, "val", only),
        seed=seed,
    )
    values = _fitted_values(_fitted(method, outputs, label), outputs, label) | fitted_for
    write_json(run.calibration, values)
    return values


def doubts(values: Mapping[str, Any], split: str, *, own_dataset: bool) -> str | None:
    """Returns why a calibration had better not be exported, None without a reason.

    Args:
        values: The calibration as JSON, with its errors on the evaluated split.
        split: That was evaluated.
        own_dataset: Whether it is that of the training, which alone decides what is exported.
    """
    calibration, reasons = Calibration.from_dict(values), []
    if calibration.method != "none" and at_limit(calibration.scale):
        reasons.append(
            f"{calibration} is at the limit of its range: the validation split does not determine "
            "it"
        )
    before, after = values["ece"], values["ece_calibrated"]
    if before is not None and after is not None and after > before + WORSE:
        reasons.append(
            f"it raises the calibration error on {split} from {before:.3f} to {after:.3f}: the "
            "validation split does not stand for that one"
        )
    if not reasons:
        return None
    again = "evaluate again" if own_dataset else "evaluate the dataset of the training"
    return (
        f"warning: the calibration is doubtful, because {', and '.join(reasons)}; {again} "
        "with --calibration none to keep it out of the export, or validate on more areas"
    )


def _kept(run: RunFolder, fitted_for: dict[str, str], classes: int) -> dict[str, Any] | None:
    """Returns the calibration in the run folder if it is one of these weights and data."""
    values = run.calibration_values()
    if values is None or any(values.get(k) != v for k, v in fitted_for.items()):
        return None
    run.read_calibration(classes, fitted_for["data_hash"])  # Tells what is malformed.
    return values


def _fitted(method: CalibrationMethod, logits: np.ndarray, label: np.ndarray) -> Calibration:
    if method == "temperature":
        return Calibration(method=method, scale=(1 / fit_temperature(logits, label),))
    if method == "vector":
        scale, bias = fit_vector(logits, label)
        return Calibration(method=method, scale=tuple(scale.tolist()), bias=tuple(bias.tolist()))
    return Calibration()


def _fitted_values(fitted: Calibration, logits: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Returns a calibration with what it does to the pixels that it was fitted on."""
    calibrated = fitted.apply(logits)
    return _numbers(fitted) | {
        "split": "val",
        "pixels": len(label),
        "nll": json_number(negative_log_likelihood(logits, label)),
        "nll_calibrated": json_number(negative_log_likelihood(calibrated, label)),
        "val_ece": json_number(_error(logits, label)),
        "val_ece_calibrated": json_number(_error(calibrated, label)),
    }


def _numbers(calibration: Calibration) -> dict[str, Any]:
    return {
        "method": calibration.method,
        "scale": list(calibration.scale),
        "bias": list(calibration.bias),
    }


def _error(logits: np.ndarray, label: np.ndarray) -> float:
    probability = softmax(logits)
    correct = probability.argmax(axis=-1) == label
    return float(Reliability.of(probability.max(axis=-1), correct).error)
