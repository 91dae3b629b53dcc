"""How far the baseline's probabilities can be believed, beside the network's."""

import json

import numpy as np
import pytest
from fakes.small_dataset import BANDS, LEGEND, write_small_dataset

from landcover_tf import evaluate
from landcover_tf.accuracy.baseline import fit_baseline
from landcover_tf.datasets.patch_index import split_index
from landcover_tf.evaluation.predictions import predict_split
from landcover_tf.legend import IGNORED
from landcover_tf.model_info import Calibration
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.unet import build_unet
from landcover_tf.report import sections
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import write_json


def calibration_error(confidence, correct):
    """Returns the error with 15 bins, pixel by pixel as Guo et al. 2017 define it."""
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


def test_the_error_is_that_of_its_own_probabilities(tmp_path):
    info = write_small_dataset(tmp_path)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (3, 32, 32)).astype(np.uint8)
    label[:, :4] = IGNORED
    # Where the noise covers the class, the trees cannot know it.
    images = rng.normal(size=(3, 32, 32, len(BANDS))).astype(np.float32)
    images[..., 0] += label
    known = label != IGNORED
    baseline = fit_baseline(
        "hist-gradient-boosting", images[0][known[0]], label[0][known[0]], context=0, seed=0
    )
    found = predict_split(
        lambda image: np.zeros((*image.shape[:3], 3), np.float32),
        iter([(images[:2], label[:2]), (images[2:], label[2:])]),
        info, entries=split_index(tmp_path, "val", info.split("val").shards),
        calibration=Calibration(), baseline=baseline, pictures=1,
    )  # fmt: skip
    shares = baseline.classifier.predict_proba(images[known])
    correct = shares.argmax(axis=1) == label[known]
    expected = calibration_error(shares.max(axis=1), correct)
    # It has learnt one of the patches by heart, and is too sure of the others.
    assert expected > 0.05
    assert found.baseline_reliability.error == pytest.approx(expected)
    for i in range(3):
        expected = calibration_error(shares[:, i], label[known] == i)
        assert found.baseline_by_class.error[i] == pytest.approx(expected)
    assert np.trace(found.baseline.sum(axis=0)) == correct.sum()
    assert found.baseline.sum() == known.sum()


def test_the_program_and_the_report_show_both_errors(tmp_path, capsys):
    info = write_small_dataset(tmp_path / "data")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    write_json(run.dataset, info.to_dict())
    spec = ModelSpec(encoder="resnet18", encoder_depth=2, band_names=info.band_names,
                     class_codes=info.legend.codes, normalizer=info.normalizer,
                     decoder_filters=(8, 8, 8, 8, 8))  # fmt: skip
    spec.save(run.model_spec)
    build_unet(spec).save_weights(run.best_weights)
    write_json(run.config, {"data_dir": str(tmp_path / "data")})
    write_json(run.summary, {"status": "finished"})
    run.model_card.write_text("# card\n")
    assert evaluate.main(["--run-dir", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert "has no split 'test'; it has train, val; score --split val, which is optimistic" in said
    assert not run.evaluation("test").parent.exists()
    quick = ["--run-dir", str(run.path), "--split", "val", "--bootstrap-samples", "5"]
    # A shortened index would have pixels of overlaps scored twice.
    index = tmp_path / "data" / "patches.jsonl"
    whole = index.read_text()
    index.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert evaluate.main(quick) == 2
    assert "lists 2 patches of split val, which are not the 3 records" in capsys.readouterr().err
    assert not run.evaluation("val").parent.exists() and not run.calibration.exists()
    index.write_text(whole)
    assert evaluate.main(quick) == 0
    said = capsys.readouterr().out
    scores = json.loads((run.evaluation("val") / "scores.json").read_text())
    network, baseline = scores["calibration"], scores["baseline"]["calibration"]
    assert f"; of the per-pixel baseline {baseline['ece']:.3f}\n" in said
    # Random weights, against trees that know these classes.
    assert scores["difference"]["overall_accuracy"]["high"] < 0
    warning = "the network is worse than the per-pixel baseline in overall accuracy, "
    assert warning in said and "docs/training.md" in said
    assert any(warning in text for text in sections.accuracy(scores, LEGEND).paragraphs)
    assert "\n## Scores on the val split\n" in run.model_card.read_text()
    assert list(baseline["by_class"]) == list(LEGEND.names)
    (row,) = [
        row
        for row in sections.accuracy(scores, LEGEND).tables[0].rows
        if row[0] == "calibration error"
    ]
    expected = f"{network['ece']:.3f}, calibrated {network['ece_calibrated']:.3f}"
    assert row[1:] == (expected, f"{baseline['ece']:.3f}")

    alone = scores | {"baseline": None, "calibration": network | {"method": "none"}}
    row = sections.accuracy(alone, LEGEND).tables[0].rows[-1]
    assert row == ("calibration error", f"{network['ece']:.3f}")
