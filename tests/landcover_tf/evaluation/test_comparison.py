"""Two classifiers of one split are averaged over the same classes."""

import numpy as np
import pytest

from landcover_tf.accuracy import interval_sentences
from landcover_tf.evaluation.comparison import difference, judge
from landcover_tf.evaluation.report import table
from landcover_tf.legend import LandCoverClass, Legend
from landcover_tf.report import sections

BLOCKS = [str(number) for number in range(20)]
HOW = {"samples": 200, "seed": 0}
LEGEND = Legend(
    name="three",
    classes=tuple(
        LandCoverClass(code=i, name=name, color="#000000")
        for i, name in enumerate(("water", "forest", "urban"), start=1)
    ),
)


def test_one_pixel_of_an_absent_class_does_not_halve_the_mean():
    better = np.array([[[90, 10, 0], [10, 90, 0], [0, 0, 0]]] * 20)
    worse = np.array([[[85, 15, 0], [15, 85, 0], [0, 0, 0]]] * 20)
    better[7] = [[90, 9, 1], [10, 90, 0], [0, 0, 0]]  # One of 4000 is called the third class.
    found = difference(better, worse, BLOCKS, **HOW)["mean_iou"]
    # Of the two true classes: 1800/2200 or 2000/2199 pixels against 1700/2300.
    expected = (1800 / 2200 + 1800 / 2199) / 2 - 1700 / 2300
    assert found.value == pytest.approx(expected)
    assert 0.9 * expected < found.low <= found.high < 1.1 * expected
    judged = [judge(name, m, BLOCKS, **HOW) for name, m in (("a", better), ("b", worse))]
    assert judged[0].intervals["mean_iou"].value == pytest.approx(1700 / 2300 + expected)
    assert judged[0].to_dict(LEGEND.names)["predicted_as_absent_classes"] == 1
    assert "nowhere the truth: a 1, b 0" in table(judged, None, LEGEND)
    assert "nowhere" not in table(judged[1:], None, LEGEND)


def test_samples_without_a_rare_class_do_not_hide_that_one_classifier_finds_it():
    better = np.array([[[900, 60, 0], [60, 500, 0], [0, 0, 0]]] * 20)
    better[[3, 11], 2] = [0, 0, 200]
    worse = better.copy()
    worse[[3, 11], 2] = [120, 20, 60]
    found = difference(better, worse, BLOCKS, **HOW)["mean_iou"]
    # A third of 1 against 0.3, and a little because its errors fall on the others.
    assert 0.7 / 3 < found.low <= found.value <= found.high < 0.26
    assert 0.05 < found.dropped_fraction < 0.2
    judged = [judge(name, m, BLOCKS, **HOW).to_dict(LEGEND.names) for name, m in
              (("U-Net", better), ("per-pixel baseline", worse))]  # fmt: skip
    assert judged[0]["intervals"]["mean_f1"]["dropped_fraction"] == found.dropped_fraction
    errors = {"ece": 0, "method": "none"}
    values = {
        "unet": judged[0], "baseline": judged[1] | {"calibration": errors}, "calibration": errors,
        "dataset": "small", "split": "val", "patches": 20, "blocks": 20, "block_unit": "groups",
        "bootstrap_samples": 200,
    }  # fmt: skip
    [sentence] = interval_sentences.of_evaluation(values, LEGEND.names)
    share = f"{100 * found.dropped_fraction:.3g} %"
    assert sentence.endswith(f"left out of these intervals: {share} for mean IoU, mean F1, urban.")
    assert sentence in sections.accuracy(values, LEGEND).paragraphs
    # Where nothing is left out, nothing is told.
    for j in judged:
        for figure in (
            *j["intervals"].values(),
            *(c["iou_interval"] for c in j["classes"].values()),
        ):
            del figure["dropped_fraction"]
    assert interval_sentences.of_evaluation(values, LEGEND.names) == []


def test_a_class_in_one_group_is_said_to_have_no_interval():
    matrices = np.array([[[900, 60, 0], [60, 500, 0], [0, 0, 0]]] * 20)
    matrices[3, 2] = [0, 20, 180]
    matrices[7, 0, 2] = 1  # A false positive elsewhere tells nothing about it.
    found = judge("U-Net", matrices, BLOCKS, **HOW)
    assert found.class_iou[2].to_dict() == {
        "value": pytest.approx(180 / 201), "low": None, "high": None, "blocks": 1,
        "dropped_fraction": 0,
    }  # fmt: skip
    values = {"unet": found.to_dict(LEGEND.names), "blocks": 20, "block_unit": "groups"}
    first, _ = interval_sentences.of_evaluation(values, LEGEND.names)
    assert (
        "no interval for IoU of urban: all their labelled pixels lie in one of the groups" in first
    )
    # With one block, nothing has an interval, which the programs say themselves.
    alone = judge("U-Net", matrices[3:4], ["a"], **HOW).to_dict(LEGEND.names)
    values = {"unet": alone, "blocks": 1, "block_unit": "groups"}
    assert interval_sentences.of_evaluation(values, LEGEND.names) == []


@pytest.mark.parametrize(("high", "warned"), [(-0.01, True), (0.01, False), (None, False)])
def test_a_network_below_the_baseline_is_warned_of(high, warned):
    found = judge("U-Net", np.array([[[9, 6, 0], [6, 5, 0], [0, 0, 3]]] * 20), BLOCKS, **HOW)
    differences = {name: {"value": -0.1, "low": -0.2, "high": 0.1} for name in found.intervals}
    differences["mean_iou"]["high"] = high
    values = {"unet": found.to_dict(LEGEND.names), "difference": differences, "blocks": 20}
    sentences = interval_sentences.of_evaluation(values | {"block_unit": "groups"}, LEGEND.names)
    expected = "warning: the network is worse than the per-pixel baseline in mean IoU"
    assert [s.partition(" (")[0] for s in sentences] == [expected] * warned
    assert not any("only" in sentence for sentence in sentences)
    few = interval_sentences.of_evaluation(
        values | {"blocks": 19, "block_unit": "groups"}, LEGEND.names
    )
    # As few squares make an assessment's intervals rough.
    assert ["ends below 0, from 19 groups only), so do not" in s for s in few] == [True] * warned
