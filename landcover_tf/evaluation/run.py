"""One evaluation: from a run folder and a split to scores, tables and pictures."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_tf.accuracy import interval_sentences
from landcover_tf.accuracy.baseline import (
    Baseline,
    BaselineKind,
    feature_names,
    fit_baseline,
    sample_pixels,
)
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import split_index
from landcover_tf.errors import OutputError
from landcover_tf.evaluation import report
from landcover_tf.evaluation.comparison import Judged, difference, judge
from landcover_tf.evaluation.kept_scores import with_scores
from landcover_tf.evaluation.other_dataset import require_alike
from landcover_tf.evaluation.predictions import (
    SplitPrediction,
    drawn_patches,
    logits_of,
    patches,
    predict_split,
)
from landcover_tf.evaluation.regions import block_names, labelled_pixels
from landcover_tf.evaluation.run_calibration import CalibrationMethod, doubts, run_calibration
from landcover_tf.model_info import Calibration
from landcover_tf.run_folder import RunFolder
from landcover_tf.system import provenance
from landcover_tf.system.files import KnownHashes, json_number, write_json, write_text
from landcover_tf.training.trained import load_trained
from landcover_tf.visuals.figures import confusion_matrix_figure, save_figure


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is evaluated; see `landcover_tf.evaluate.EvaluateConfig`."""

    split: str
    batch_size: int
    calibration: CalibrationMethod
    tta: bool
    baseline: BaselineKind | None
    baseline_context: int
    baseline_pixels: int
    bootstrap_samples: int
    pictures: int
    seed: int


def evaluate_run(run: RunFolder, folder: Path, settings: Settings) -> str:
    """Writes the evaluation into the run folder and returns its table.

    Args:
        run: A finished run.
        folder: The dataset that it was trained on, or another one of its bands, classes and pixel
            size.
        settings: What to do.

    Raises:
        DatasetError: The dataset has other bands, classes or pixels, is damaged, or lacks the
            split or its index.
        RunError: The weights do not fit the run's specification.
    """
    trained_on = DatasetInfo.load(run.dataset)
    info = _dataset(run, folder, trained_on, settings)
    entries = split_index(folder, settings.split, info.split(settings.split).shards)
    model, _, _ = load_trained(run)
    logits = logits_of(model)
    calibration = run_calibration(
        run, logits, info, folder, trained_on=trained_on, method=settings.calibration,
        batch_size=settings.batch_size, seed=settings.seed,
    )  # fmt: skip
    baseline = _baseline(info, folder, settings)
    found = predict_split(
        logits,
        patches(info, folder, settings.split, batch_size=settings.batch_size, label=settings.split),
        info,
        entries=entries,
        calibration=Calibration.from_dict(calibration),
        tta=settings.tta,
        baseline=baseline,
        pictures=settings.pictures,
    )
    blocks, unit = block_names(entries, info.patch_grid)
    how = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    judged = [judge("U-Net", found.network, blocks, **how)]
    differences = None
    if found.baseline is not None:
        judged.append(judge("per-pixel baseline", found.baseline, blocks, **how))
        differences = difference(found.network, found.baseline, blocks, **how)
    differences_values = (
        None if differences is None else {name: i.to_dict() for name, i in differences.items()}
    )
    values: dict[str, Any] = {
        "dataset": info.name,
        "split": settings.split,
        "patches": len(found.network),
        "pixels": judged[0].scores.pixels,
        "blocks": len(set(blocks)),
        "block_unit": unit,
        "orientations": 8 if settings.tta else 1,
        "bootstrap_samples": settings.bootstrap_samples,
        "data_hash": info.data_hash,
        "unet": judged[0].to_dict(info.legend.names),
        "baseline": _baseline_values(baseline, judged, found, info),
        "difference": differences_values,
        "calibration": calibration | _calibration_errors(found, info),
        "software": provenance.software_versions(),
    }  # fmt: skip
    text = _header(values, trained_on) + "\n\n" + report.table(judged, differences, info.legend)
    text += f"\n\n{_calibration_line(values['calibration'], values['baseline'])}"
    own = info.data_hash == trained_on.data_hash
    told = interval_sentences.of_split(settings.split) if own else []
    told += interval_sentences.of_evaluation(values, info.legend.names)
    text += "".join(f"\n{sentence}" for sentence in told)
    doubtful = doubts(values["calibration"], settings.split, own_dataset=own)
    text += f"\n{doubtful}" if doubtful else ""
    _write(run.evaluation(settings.split, info), values, text, found, judged, info)
    # After them, because it is only a copy of the scores.
    if own and run.model_card.is_file():
        _add_to_card(run.model_card, values)
    return text


def _dataset(
    run: RunFolder, folder: Path, trained_on: DatasetInfo, settings: Settings
) -> DatasetInfo:
    """Returns the dataset's description after checking that it fits and what is read of it."""
    info = DatasetInfo.load(folder)
    require_alike(info, trained_on, folder)
    info.split(settings.split)
    splits = {settings.split} | ({"train"} if settings.baseline else set())
    if info.data_hash == trained_on.data_hash:
        splits.add("val")  # For the calibration.
    hashes = KnownHashes(run.shard_hashes)
    try:
        info.verify(folder, splits=[s for s in info.splits if s in splits], hashes=hashes)
    finally:
        hashes.save()  # What was read of sound shards is not read again.
    return info


def _calibration_errors(found: SplitPrediction, info: DatasetInfo) -> dict[str, Any]:
    """Returns the calibration errors on the split, of the confidence and by class."""
    pairs = zip(found.before_by_class.error, found.after_by_class.error, strict=True)
    return {
        "ece": json_number(float(found.before.error)),
        "ece_calibrated": json_number(float(found.after.error)),
        "by_class": {
            name: {"ece": json_number(before), "ece_calibrated": json_number(after)}
            for name, (before, after) in zip(info.legend.names, pairs, strict=True)
        },
    }


def _baseline(info: DatasetInfo, folder: Path, settings: Settings) -> Baseline | None:
    if settings.baseline is None:
        return None
    only = drawn_patches(info, "train", seed=settings.seed)
    batches = patches(
        info, folder, "train", batch_size=settings.batch_size, label="baseline", only=only
    )
    features, labels = sample_pixels(
        ((image[i], label[i]) for image, label in batches for i in range(len(image))),
        pixels=settings.baseline_pixels,
        labelled_pixels=labelled_pixels(info, folder, "train", only),
        context=settings.baseline_context,
        seed=settings.seed,
    )
    return fit_baseline(
        settings.baseline, features, labels, context=settings.baseline_context, seed=settings.seed
    )


def _baseline_values(
    baseline: Baseline | None, judged: list[Judged], found: SplitPrediction, info: DatasetInfo
) -> dict[str, Any] | None:
    if baseline is None or found.baseline_reliability is None or found.baseline_by_class is None:
        return None
    errors = zip(info.legend.names, found.baseline_by_class.error, strict=True)
    return {
        "kind": baseline.kind,
        "features": feature_names(info.band_names, baseline.context),
        "training_pixels": baseline.training_pixels,
        "fit_seconds": round(baseline.seconds, 2),
        "calibration": {
            "ece": json_number(float(found.baseline_reliability.error)),
            "by_class": {name: {"ece": json_number(error)} for name, error in errors},
        },
    } | judged[1].to_dict(info.legend.names)


def _header(values: dict[str, Any], trained_on: DatasetInfo) -> str:
    lines = [
        f"{values['split']} of {values['dataset']}: {values['patches']} patches, "
        f"{values['pixels']:,} labelled pixels; 95 % intervals by resampling "
        f"{values['blocks']} {values['block_unit']}"
    ]
    if values["data_hash"] != trained_on.data_hash:
        lines.append(
            f"dataset {values['dataset']} ({values['data_hash']}) is not that of the training, "
            f"{trained_on.name} ({trained_on.data_hash}): this run's split did not hold its "
            "patches out, so they may show ground that was trained on"
        )
    if values["orientations"] > 1:
        lines.append(f"U-Net: mean probability of {values['orientations']} orientations")
    if values["baseline"]:
        baseline = values["baseline"]
        lines.append(
            f"per-pixel baseline: {baseline['kind']}, {len(baseline['features'])} features, "
            f"{baseline['training_pixels']:,} training pixels"
        )
    return "\n".join(lines)


def _calibration_line(values: dict[str, Any], baseline: dict[str, Any] | None) -> str:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    line = f"calibration error {number(values['ece'])}, "
    if values["method"] == "none":
        line += "not corrected"
    else:
        line += (
            f"with {Calibration.from_dict(values)} (fitted on the run's validation split) "
            f"{number(values['ece_calibrated'])}"
        )
    if baseline is not None:
        line += f"; of the per-pixel baseline {number(baseline['calibration']['ece'])}"
    return line


def _add_to_card(card: Path, values: dict[str, Any]) -> None:
    try:
        write_text(card, with_scores(card.read_text(encoding="utf-8"), values))
    except (OSError, UnicodeError, OutputError) as error:
        print(f"warning: {card} does not get the scores: {error}", file=sys.stderr)


_AT_TIMES = (
    "baseline_confusion_matrix.csv",
    "baseline_confusion_matrix.png",
    "predictions.png",
)
"""Files that an evaluation writes with a baseline, or with pictures, only."""


def _write(
    folder: Path,
    values: dict[str, Any],
    text: str,
    found: SplitPrediction,
    judged: list[Judged],
    info: DatasetInfo,
) -> None:
    legend = info.legend
    # Of an earlier evaluation: what may not be written again, and what would say that it is whole.
    for name in ("scores.json", *_AT_TIMES):
        (folder / name).unlink(missing_ok=True)
    report.write_class_table(folder / "per_class.csv", judged, info)
    for name, classifier in zip(("", "baseline_"), judged, strict=False):
        matrix = classifier.scores.matrix
        report.write_matrix(folder / f"{name}confusion_matrix.csv", matrix, legend)
        title = f"{classifier.name} on {values['split']} of {info.name}"
        picture = confusion_matrix_figure(matrix, legend.names, title=title)
        save_figure(picture, folder / f"{name}confusion_matrix.png")
    top = (found.before, found.after, found.baseline_reliability)
    report.draw_reliability(folder / "reliability.png", top)
    by_class = (found.before_by_class, found.after_by_class, found.baseline_by_class)
    report.draw_reliability_by_class(folder / "reliability_by_class.png", by_class, legend)
    report.draw_predictions(folder / "predictions.png", found.shown, info)
    write_text(folder / "table.txt", text + "\n")
    # Last, because its presence says that the evaluation is complete.
    write_json(folder / "scores.json", values)
