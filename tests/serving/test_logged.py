"""The log of a backend counts what the backend answered."""

import numpy as np
from fakes.small_export import small_info

from landcover_tf.accuracy.request_log import read_log
from serving.logged import Logged


class Fixed:
    """A backend that sees class 2 on the left and class 0 on the right."""

    name = "fixed"

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        answer = np.zeros((*batch.shape[:3], 8), np.float32)
        answer[:, :, :14, 2] = answer[:, :, 14:, 0] = 1
        return answer

    def decide(self, batch: np.ndarray) -> np.ndarray:
        classes = self.probabilities(batch).argmax(axis=-1)
        return np.stack([classes, np.full_like(classes, 254)], axis=-1).astype(np.uint8)


def test_both_ways_are_counted_in_legend_codes(tmp_path):
    info = small_info()
    batch = np.full((2, 28, 28, 4), 1500, np.uint16)
    backend = Logged(Fixed(), info, tmp_path / "log.jsonl")
    assert backend.name == "fixed"
    np.testing.assert_array_equal(backend.decide(batch), Fixed().decide(batch))
    np.testing.assert_array_equal(backend.probabilities(batch), Fixed().probabilities(batch))
    backend.close()
    served = read_log(tmp_path / "log.jsonl")
    assert served.windows == 4 and served.models == ("landcover/1",)
    assert served.class_pixels == {10: 32, 30: 32}  # 4 windows of 4 x 4 samples, half each.
    np.testing.assert_array_equal(served.statistics.mean, [1500] * 4)
