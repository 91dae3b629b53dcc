"""The pixels that the baseline learns from, and the probabilities that it gives."""

import importlib.util

import numpy as np
import pytest

from landcover_tf.accuracy.baseline import fit_baseline, sample_pixels
from landcover_tf.accuracy.calibration import Reliability
from landcover_tf.errors import DatasetError
from landcover_tf.legend import IGNORED


def drawn(labels: list[np.ndarray], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    patches = [(np.dstack([label, label]).astype(np.float32), label) for label in labels]
    count = sum(int((label != IGNORED).sum()) for label in labels)
    return sample_pixels(patches, pixels=pixels, labelled_pixels=count, context=0, seed=0)


def test_sparse_labels_give_as_many_pixels_as_full_ones():
    rng = np.random.default_rng(1)
    full = [rng.integers(0, 3, (128, 128)).astype(np.uint8) for _ in range(4)]
    sparse = [np.where(rng.random(f.shape) < 0.05, f, np.uint8(IGNORED)) for f in full]
    for labels in (full, sparse):
        features, found = drawn(labels, 1000)
        # A standard deviation is at most 32.
        assert len(found) == pytest.approx(1000, abs=130)
        np.testing.assert_array_equal(features[:, 0], found)


def test_all_labelled_pixels_are_the_most():
    label = np.array([[0, IGNORED], [1, 2]], np.uint8)
    features, found = drawn([label], 10**6)
    assert found.tolist() == [0, 1, 2] and features.shape == (3, 2)
    with pytest.raises(DatasetError, match="there are none"):
        drawn([np.full((2, 2), IGNORED, np.uint8)], 10)


@pytest.mark.parametrize("classes", [(1, 4), (0, 1, 4)])
@pytest.mark.parametrize(
    "kind",
    [
        "hist-gradient-boosting",
        pytest.param(
            "lightgbm",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("lightgbm") is None, reason="LightGBM is not installed"
            ),
        ),
    ],
)
def test_its_probabilities_are_how_often_it_is_right(kind, classes):
    """One class in four is random: the most probable one has 0.75 and a share of the rest."""
    rng = np.random.default_rng(0)

    def pixels(side):
        place = rng.integers(0, len(classes), (side, side))
        label = np.array(classes, np.uint8)[place]
        random = rng.choice(np.array(classes, np.uint8), label.shape)
        return place[..., None].astype(np.float32), np.where(
            rng.random(label.shape) < 0.75, label, random
        )

    image, label = pixels(100)
    baseline = fit_baseline(kind, image.reshape(-1, 1), label.ravel(), context=0, seed=0)
    image, label = pixels(60)
    where = rng.random(label.shape) < 0.5
    probability = baseline.probabilities(image, where, 6)
    assert probability.shape == (where.sum(), 6)
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-6)
    assert not probability[:, [i for i in range(6) if i not in classes]].any()
    right = np.array(classes, np.uint8)[image[where][:, 0].astype(int)]
    np.testing.assert_array_equal(probability.argmax(axis=1), right)
    np.testing.assert_array_equal(baseline.predict(image, where)[where], right)
    assert (baseline.predict(image, where)[~where] == IGNORED).all()
    expected = 0.75 + 0.25 / len(classes)
    assert probability.max(axis=1) == pytest.approx(np.full(len(right), expected), abs=0.03)
    # 1800 pixels have a standard error of 0.01.
    reliability = Reliability.of(probability.max(axis=1), right == label[where])
    assert reliability.error < 0.04
