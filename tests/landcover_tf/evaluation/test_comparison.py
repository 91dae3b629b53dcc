"""Two classifiers of one split are averaged over the same classes."""

import numpy as np
import pytest

from landcover_tf.evaluation.comparison import difference, judge
from landcover_tf.evaluation.report import table
from landcover_tf.legend import LandCoverClass, Legend

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
