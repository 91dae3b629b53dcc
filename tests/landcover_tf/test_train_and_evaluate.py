"""The programs train and evaluate on the session's tiny dataset."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from landcover_tf import evaluate, train
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import split_index
from landcover_tf.errors import RunError
from landcover_tf.evaluation.predictions import logits_of, predict_split
from landcover_tf.input_pipeline.dataset import evaluation_dataset
from landcover_tf.legend import IGNORED
from landcover_tf.model_info import Calibration
from landcover_tf.model_spec import ModelSpec
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.provenance import commit_tag
from landcover_tf.training.schedules import Schedule
from landcover_tf.training.trained import load_trained

QUICK = ["--model", "resnet18", "--encoder-weights", "none", "--patch-size", "64",
         "--batch-size", "8"]  # fmt: skip


def test_a_finished_run_holds_what_it_promises(tiny_run):
    run = RunFolder(tiny_run)
    run.require_finished()
    for path in (run.dataset, run.augmentation, run.model_spec, run.best_weights,
                 run.learning_curves, run.model_card, run.config):  # fmt: skip
        assert path.stat().st_size > 0, path
    with run.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(np.isfinite(float(row["train_loss"])) for row in rows)
    card, products = run.model_card.read_text(), DatasetInfo.load(run.dataset).products
    assert products and all(p.id in card and p.tile in card for p in products)
    summary = run.read_summary()
    best = max(rows, key=lambda row: float(row["val_mean_iou"]))
    assert summary["best_epoch"] == int(best["epoch"])
    assert summary["config"] == run.read_config()
    assert summary["data_hash"] == DatasetInfo.load(run.dataset).data_hash
    assert {"landcover-tf", "python", "tensorflow", "keras", "numpy"} <= set(summary["software"])
    assert summary["software"].items() >= commit_tag().items()
    assert summary["hardware"]["cores"] >= 1
    assert set(summary["hardware"]) == {"machine", "system", "cores", "gpus"}
    for name, value in best.items():
        assert summary["scores"][name] == pytest.approx(float(value), rel=1e-5), name


def test_only_the_plateau_schedule_drops_the_rate(tiny_run, tiny_dataset):
    run = RunFolder(tiny_run)
    patches = DatasetInfo.load(tiny_dataset).split("train").records
    steps = patches // 8  # The run's batch size.
    schedule = Schedule(
        kind="one-cycle", total_steps=3 * steps, warmup_fraction=0.15, final_factor=1e-3
    )
    with run.history.open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    # The run's --plateau-patience of 1 would show in its third epoch.
    expected = [1e-3 * schedule.factor(epoch * steps - 1) for epoch in (1, 2, 3)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_the_written_config_on_a_finished_run_changes_nothing(tiny_run):
    run = RunFolder(tiny_run)
    before = run.best_weights.read_bytes()
    assert train.main(["--config", str(run.config)]) == 0
    assert run.best_weights.read_bytes() == before


def test_evaluation_agrees_with_its_own_confusion_matrix(scored_run):
    folder = scored_run / "evaluation" / "test"
    scores = json.loads((folder / "scores.json").read_text())
    for judged in (scores["unet"], scores["baseline"]):
        matrix = np.array(judged["confusion_matrix"])
        assert matrix.sum() == judged["pixels"] == scores["pixels"]
        assert judged["overall_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
        iou = np.diag(matrix)[union > 0] / union[union > 0]
        assert judged["macro"]["iou"] == pytest.approx(iou.mean())
        low, high = (judged["intervals"]["mean_iou"][end] for end in ("low", "high"))
        assert 0 <= low <= high <= 1
    card = RunFolder(scored_run).model_card.read_text()
    assert f"| overall accuracy | {scores['unet']['overall_accuracy']:.3f} [" in card
    for name in ("per_class.csv", "confusion_matrix.png", "reliability.png", "predictions.png"):
        assert (folder / name).stat().st_size > 100


def test_tta_scores_the_mean_of_eight_orientations(tiny_run, tiny_dataset):
    network, _, info = load_trained(RunFolder(tiny_run))
    batches = [(image.numpy(), label.numpy()) for image, label in evaluation_dataset(
        info, tiny_dataset, "val", batch_size=4).take(2)]  # fmt: skip
    # Of rasters of their own, they share no pixels.
    listed = split_index(tiny_dataset, "val", info.split("val").shards)
    entries = [replace(entry, key=str(number)) for number, entry in enumerate(listed[:8])]
    found = predict_split(
        logits_of(network), iter(batches), info,
        entries=entries, calibration=Calibration(), tta=True, baseline=None, pictures=0,
    )  # fmt: skip
    expected = np.zeros((8, 8), int)
    for image, label in batches:
        views = []
        for turns in range(4):
            turned = softmax(network(np.rot90(image, turns, (1, 2)).copy()).numpy(), axis=-1)
            views.append(np.rot90(turned, -turns, (1, 2)))
            # A transposed view gives the other four.
            turned = np.rot90(image.swapaxes(1, 2), turns, (1, 2)).copy()
            turned = softmax(network(turned).numpy(), axis=-1)
            views.append(np.rot90(turned, -turns, (1, 2)).swapaxes(1, 2))
        predicted = np.mean(views, axis=0).argmax(axis=-1)
        np.add.at(expected, (label[label != IGNORED], predicted[label != IGNORED]), 1)
    # Sums of another order may turn a tie.
    np.testing.assert_allclose(found.network.sum(axis=0), expected, atol=5)


def test_vector_calibration_under_tta_is_kept_for_the_export(tiny_run, tmp_path, capsys):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(tiny_run, run.path)
    flags = ["--split", "val", "--calibration", "vector", "--tta", "--pictures", "0"]
    quick = ["--bootstrap-samples", "20", "--baseline", "none"]
    assert evaluate.main(["--run-dir", str(run.path), *flags, *quick]) == 0
    said = capsys.readouterr().out
    assert "vector scaling" in said and "mean probability of 8 orientations" in said
    classes = len(ModelSpec.load(run.model_spec).class_codes)
    data_hash = DatasetInfo.load(run.path).data_hash
    kept = run.read_calibration(classes, data_hash)
    assert kept.method == "vector" and len(kept.scale) == len(kept.bias) == classes
    scores = json.loads((run.evaluation("val") / "scores.json").read_text())["calibration"]
    # It was fitted by minimising this on these very pixels.
    assert scores["nll_calibrated"] <= scores["nll"]
    with pytest.raises(RunError, match="2 classes"):
        run.read_calibration(2, data_hash)
    with pytest.raises(RunError, match="other weights or data"):
        run.read_calibration(classes, "another")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--patch-size", "48"], "32"),
        (["--batch-size", "100000"], "batch"),
        (["--patch-size", "128"], "128"),
        (["--encoder-lr-factor", "0"], "encoder"),
        (["--skip-connections", "7"], "must be in [0, 5], got 7"),
        (["--decoder-filters", "64", "32"], "five numbers above 0, got (64, 32)"),
        (["--profile-steps", "5", "2"], "counted from 0, got 5 2"),
        (["--profile-steps", "-1", "2"], "counted from 0, got -1 2"),
        (["--weight-decay", "nan"], "--weight-decay must not be negative, got nan"),
    ],
)
def test_settings_that_cannot_work_are_told(tiny_dataset, tmp_path, capsys, flags, message):
    output = tmp_path / "run"
    arguments = ["--data-dir", str(tiny_dataset), "--output-dir", str(output), *QUICK, *flags]
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not output.exists()


def test_folders_that_are_no_dataset_or_run(tmp_path, capsys):
    arguments = ["--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "run"), *QUICK]
    assert train.main(arguments) == 2
    assert "holds no dataset.json" in capsys.readouterr().err
    assert evaluate.main(["--run-dir", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    for seed in ("-1", "4294967296"):
        assert evaluate.main(["--run-dir", str(tmp_path), "--seed", seed]) == 2
        assert f"--seed must be in [0, 4294967295], got {seed}" in capsys.readouterr().err


def test_the_run_folder_of_another_config_is_refused(tiny_dataset, tiny_run, capsys):
    arguments = ["--data-dir", str(tiny_dataset), "--output-dir", str(tiny_run), *QUICK]
    assert train.main([*arguments, "--lr", "0.5"]) == 2
    assert "lr" in capsys.readouterr().err
