"""The export takes what is fitted on the dataset of the training, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf import evaluate
from landcover_tf.accuracy.calibration import at_limit, fit_temperature
from landcover_tf.errors import RunError
from landcover_tf.evaluation.other_dataset import require_alike
from landcover_tf.evaluation.predictions import sample_logits
from landcover_tf.evaluation.run_calibration import doubts, run_calibration
from landcover_tf.legend import IGNORED
from landcover_tf.model_info import Calibration
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.unet import build_unet
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import read_json, write_json


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.best_weights.write_bytes(b"weights")
    return folder


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Description and folder of the dataset of the training, and of another place's."""
    folders = [tmp_path_factory.mktemp(name) for name in ("own", "other")]
    return [
        (write_small_dataset(folder, train=2, val=2, seed=seed), folder)
        for seed, folder in enumerate(folders)
    ]


def calibrated(run, datasets, method, *, other=False):
    # Each class is brightest in a band of its own.
    return run_calibration(
        run, lambda image: image[..., :3] * 50, *datasets[other],
        trained_on=datasets[0][0], method=method, batch_size=2, seed=0,
    )  # fmt: skip


def test_another_dataset_gets_the_kept_calibration_and_leaves_it(run, datasets):
    own = calibrated(run, datasets, "temperature")
    kept = run.calibration.read_bytes()
    assert own["method"] == "temperature" and own["pixels"] == 2 * 32 * 32
    assert calibrated(run, datasets, "temperature", other=True) == own
    assert calibrated(run, datasets, "vector", other=True) == own
    assert calibrated(run, datasets, "none", other=True)["method"] == "none"
    assert run.calibration.read_bytes() == kept


def test_another_method_replaces_what_was_kept(run, datasets):
    calibrated(run, datasets, "vector")
    data_hash = datasets[0][0].data_hash
    assert run.read_calibration(3, data_hash).method == "vector"
    assert calibrated(run, datasets, "none")["method"] == "none"
    assert run.read_calibration(3, data_hash) == Calibration()


@pytest.mark.parametrize("stale", [{"data_hash": "0" * 12}, {"weights_sha256": "0" * 64}])
def test_a_calibration_of_other_data_or_weights_is_fitted_anew(run, datasets, stale):
    own = calibrated(run, datasets, "temperature")
    write_json(run.calibration, own | {"scale": [9.0]} | stale)
    assert calibrated(run, datasets, "temperature", other=True)["method"] == "none"
    np.testing.assert_allclose(calibrated(run, datasets, "temperature")["scale"], own["scale"])
    assert json.loads(run.calibration.read_text()) == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: [values], "must hold a JSON object"),
        (lambda values: values | {"scale": [1, 2]}, "2 factors and 1 offsets for 3 classes"),
        (lambda values: {k: values[k] for k in values if k != "scale"}, "delete it and evaluate"),
    ],
)
def test_a_malformed_calibration_is_told(run, datasets, change, message):
    own = calibrated(run, datasets, "temperature")
    write_json(run.calibration, change(own))
    for other in (False, True):
        with pytest.raises(RunError, match=message):
            calibrated(run, datasets, "temperature", other=other)


def test_sparse_labels_give_as_many_pixels():
    label = np.full((4, 64, 64), IGNORED, np.uint8)
    label[:, ::8, ::8] = 1  # 256 pixels in all, 1.6 %.
    batches = [(np.zeros((2, 64, 64, 3), np.float32), two) for two in (label[:2], label[2:])]
    for wanted, expected in ((100, 100), (10**6, 256)):
        _, found = sample_logits(
            lambda image: image, iter(batches), pixels=wanted, labelled_pixels=256, seed=0
        )
        assert len(found) == pytest.approx(expected, abs=30)


def evaluable(run, info, folder):
    """Makes a finished run of random weights."""
    write_json(run.dataset, info.to_dict())
    spec = ModelSpec(encoder="resnet18", encoder_depth=2, band_names=info.band_names,
                     class_codes=info.legend.codes, normalizer=info.normalizer,
                     decoder_filters=(8, 8, 8, 8, 8))  # fmt: skip
    spec.save(run.model_spec)
    build_unet(spec).save_weights(run.best_weights)
    write_json(run.config, {"data_dir": str(folder)})
    write_json(run.summary, {"status": "finished"})


def evaluation(run, folder):
    return ["--run-dir", str(run.path), "--data-dir", str(folder), "--split", "val",
            "--baseline", "none", "--bootstrap-samples", "5", "--pictures", "0"]  # fmt: skip


def test_evaluate_on_another_dataset_writes_no_calibration(run, datasets, capsys):
    (info, folder), (_, other) = datasets
    evaluable(run, info, folder)
    assert evaluate.main(evaluation(run, other)) == 0
    assert "not corrected" in capsys.readouterr().out
    assert not run.calibration.exists()
    assert run.read_calibration(3, info.data_hash) == Calibration()


def test_a_card_that_cannot_be_read_costs_no_scores(run, datasets, capsys):
    (info, folder), _ = datasets
    evaluable(run, info, folder)
    run.model_card.write_bytes("Wälder".encode("latin-1"))
    # Of an evaluation with a baseline and pictures.
    of_before = [run.evaluation("val") / n for n in ("predictions.png", "scores.json")]
    of_before[0].parent.mkdir(parents=True)
    for path in of_before:
        path.write_text("{}")
    assert evaluate.main(evaluation(run, folder)) == 0
    assert not of_before[0].exists()
    assert read_json(run.evaluation("val") / "scores.json")["split"] == "val"
    assert f"warning: {run.model_card} does not get the scores: 'utf-8'" in capsys.readouterr().err
    assert run.model_card.read_bytes() == b"W\xe4lder"


def test_another_dataset_has_scores_of_its_own_that_name_it(run, datasets, tmp_path, capsys):
    (info, folder), _ = datasets
    evaluable(run, info, folder)
    other = write_small_dataset(tmp_path / "other", train=2, val=2, seed=1)
    assert evaluate.main(evaluation(run, folder)) == 0
    assert f"val of {info.name}: 2 patches" in capsys.readouterr().out
    own = {path: path.read_bytes() for path in run.evaluation("val").iterdir()}

    assert evaluate.main(evaluation(run, tmp_path / "other")) == 0
    told, written = capsys.readouterr().out, run.evaluation("val", other)
    assert written.name == f"val-{other.name}-{other.data_hash}" and f"wrote {written}" in told
    not_held_out = f"dataset {other.name} ({other.data_hash}) is not that of the training"
    assert not_held_out in told and not_held_out in (written / "table.txt").read_text()
    assert json.loads((written / "scores.json").read_text())["dataset"] == other.name
    assert f",{other.name}\n" in (written / "per_class.csv").read_text()
    assert own == {path: path.read_bytes() for path in run.evaluation("val").iterdir()}
    assert run.evaluation("val", info) == run.evaluation("val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda info: {"legend": crops(info.legend)},
            "has the classes 10 maize, 20 wheat, 30 potatoes, the training had 10 water, 20",
        ),
        (lambda info: {"resolution_m": 60.0}, "has pixels of 60 m, the training had 10 m; give"),
        (
            lambda info: {"bands": info.bands[::-1]},
            "has the bands B08, B04, B03, B02, the training had B02, B03, B04, B08",
        ),
    ],
)
def test_a_dataset_of_another_kind_is_refused_with_both_sides(
    run, datasets, tmp_path, capsys, change, message
):
    """Maize, wheat and potatoes of 60 m were scored as water, forest and urban of 10 m."""
    (info, folder), _ = datasets
    evaluable(run, info, folder)
    other = write_small_dataset(tmp_path / "other", train=2, val=2, seed=5)
    replace(other, **change(other)).save(tmp_path / "other")
    assert evaluate.main(evaluation(run, tmp_path / "other")) == 2
    assert message in capsys.readouterr().err
    assert not (run.path / "evaluation").exists()


def crops(legend):
    classes = zip(legend.classes, ("maize", "wheat", "potatoes"), strict=True)
    return replace(legend, classes=tuple(replace(c, name=name) for c, name in classes))


def test_almost_equal_and_unknown_pixel_sizes_are_no_other_kind(datasets):
    info, folder = datasets[0]
    for size in (9.97, None):  # Of another latitude; of rasters without a CRS.
        require_alike(replace(info, resolution_m=size), info, folder)
        require_alike(info, replace(info, resolution_m=size), folder)


def calibration_of(before, after, factor, method="temperature"):
    return {
        "method": method, "scale": [factor], "bias": [0.0], "ece": before, "ece_calibrated": after,
    }  # fmt: skip


def test_a_calibration_that_makes_things_worse_is_told_with_what_to_do():
    """0.015 became 0.106 on areas of another kind, and the table said so without comment."""
    told = doubts(calibration_of(0.015, 0.106, 1 / 1.54), "test", own_dataset=True)
    assert "raises the calibration error on test from 0.015 to 0.106" in told
    assert "; evaluate again with --calibration none" in told and "limit" not in told
    for values in (
        calibration_of(0.106, 0.015, 1 / 1.54),
        calibration_of(0.015, 0.016, 1 / 1.54),
        calibration_of(0.2, 0.2, 1.0, method="none"),
    ):
        assert doubts(values, "test", own_dataset=True) is None
    limit = doubts(calibration_of(None, None, 0.05), "test", own_dataset=True)
    assert limit.count("temperature 20 is at the limit") == 1


def test_on_another_dataset_the_doubt_names_the_one_that_decides(run, datasets, capsys):
    """Nothing is fitted there, so `--calibration none` on it changed nothing for the export."""
    (info, folder), (_, other) = datasets
    evaluable(run, info, folder)
    limit = calibrated(run, datasets, "temperature") | {"scale": [0.05]}
    write_json(run.calibration, limit)
    assert evaluate.main(evaluation(run, other)) == 0
    told = "; evaluate the dataset of the training with --calibration none to keep it out"
    assert told in capsys.readouterr().out
    assert evaluate.main(evaluation(run, folder)) == 0
    assert "; evaluate again with --calibration none to" in capsys.readouterr().out


def test_probabilities_without_any_skill_end_at_the_limit():
    rng = np.random.default_rng(0)
    logits, label = 3 * rng.normal(size=(2000, 4)), rng.integers(4, size=2000)
    assert at_limit([1 / fit_temperature(logits, label)])
    logits[np.arange(2000), label] += 9  # The best temperature is about 3 ** 2 / 9 = 1.
    assert not at_limit([1 / fit_temperature(logits, label)])
