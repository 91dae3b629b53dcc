"""The network and the baseline run over a split, patch by patch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.accuracy.baseline import Baseline
from landcover_tf.accuracy.calibration import Reliability, softmax
from landcover_tf.accuracy.scores import confusion_matrix
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry
from landcover_tf.evaluation.regions import own_regions
from landcover_tf.input_pipeline.dataset import evaluation_dataset
from landcover_tf.legend import IGNORED
from landcover_tf.model_info import Calibration
from landcover_tf.model_spec import SIZE_MULTIPLE
from landcover_tf.orientations import mean_over_orientations
from landcover_tf.system.progress import progress

Logits = Callable[[np.ndarray], np.ndarray]

SAMPLED_PATCHES = 4096
"""Patches that samples of pixels are drawn from; more tell little more of the same pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A patch for the picture of predictions."""

    image: np.ndarray
    label: np.ndarray
    network: np.ndarray
    baseline: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitPrediction:
    """What a split says about the network (and the baseline)."""

    network: np.ndarray
    """Confusion matrices, int64 [patches, classes, classes]."""
    baseline: np.ndarray | None
    """The same of the baseline, None without one."""
    before: Reliability
    """Reliability of the network's probabilities."""
    after: Reliability
    """The same after calibration."""
    before_by_class: Reliability
    """Reliability of the probability of each class, [classes, bins]."""
    after_by_class: Reliability
    baseline_reliability: Reliability | None
    """Reliability of the baseline's probabilities, None without one."""
    baseline_by_class: Reliability | None
    shown: tuple[Shown, ...]
    """The first patches with a label."""


def patches(
    info: DatasetInfo,
    folder: Path,
    split: str,
    *,
    batch_size: int,
    label: str,
    only: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (reflectance [b, size, size, bands], dense label [b, size, size]) with progress.

    Args:
        info: The dataset.
        folder: Where its shards are.
        split: For example `val`.
        batch_size: Patches in a batch.
        label: What the progress bar is called.
        only: Numbers of the patches to take, as of `drawn_patches`; None takes all.
    """
    dataset = evaluation_dataset(info, folder, split, batch_size=batch_size, only=only)
    total = info.split(split).records if only is None else len(only)
    with progress(label=label, total=total, unit="patch") as bar:
        for image, dense in dataset.as_numpy_iterator():
            yield image, dense
            bar.update(len(image))


def drawn_patches(
    info: DatasetInfo, split: str, *, seed: int, most: int = SAMPLED_PATCHES
) -> np.ndarray:
    """Returns the numbers, ascending, of the patches to draw pixels from: all of a small split.

    Of a larger one they fill shards drawn at random, so that the others need not be read. The
    builder puts records in a random order, so those of a shard are no neighbours.
    """
    counts = np.array([shard.records for shard in info.split(split).shards])
    if counts.sum() <= most:
        return np.arange(counts.sum())
    ends = np.cumsum(counts)
    order = np.random.default_rng(seed).permutation(len(counts))
    numbers = np.concatenate([np.arange(ends[i] - counts[i], ends[i]) for i in order])
    return np.sort(numbers[:most])


def logits_of(model: keras.Model) -> Logits:
    """Returns a function from reflectance [b, h, w, bands] to logits [b, h, w, classes].

    Patches of other sizes are padded with no data to the next multiple of 32 and cut again.
    """
    run = tf.function(
        lambda image: model(image, training=False), reduce_retracing=True, autograph=False
    )

    def logits(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[1:3]
        padding = [(0, 0), (0, -height % SIZE_MULTIPLE), (0, -width % SIZE_MULTIPLE), (0, 0)]
        return run(tf.constant(np.pad(image, padding))).numpy()[:, :height, :width]

    return logits


def sample_logits(
    logits: Logits,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    *,
    pixels: int,
    labelled_pixels: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits [n, classes] and labels [n] of about `pixels` of the `labelled_pixels`.

    Those of overlapping patches are drawn, and so counted, in each.
    """
    rng = np.random.default_rng(seed)
    values, labels = [], []
    fraction = pixels / max(labelled_pixels, 1)
    for image, label in batches:
        chosen = (label != IGNORED) & (rng.random(label.shape) < fraction)
        values.append(logits(image)[chosen])
        labels.append(label[chosen])
    return np.concatenate(values), np.concatenate(labels)


def predict_split(
    logits: Logits,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    info: DatasetInfo,
    *,
    entries: Sequence[PatchEntry],
    calibration: Calibration,
    tta: bool = False,
    baseline: Baseline | None,
    pictures: int,
) -> SplitPrediction:
    """Returns the confusion matrices and the reliability over all patches of a split.

    The network's class is that of the calibrated probabilities, as in an export; with `tta`, of
    their mean over eight orientations, as in `landcover predict --tta`.
    """
    classes = len(info.legend.classes)
    network, trees, shown = [], [], []
    before, after, of_trees = _Judgement(classes), _Judgement(classes), _Judgement(classes)
    size = info.patch_grid.patch_size
    regions = own_regions(entries, size)
    for image, label in batches:
        outputs, calibrated = _outputs(logits, image, calibration, tta)
        predicted = calibrated.argmax(axis=-1).astype(np.uint8)
        for i in range(len(image)):
            # Each pixel counts in one of the patches that show it.
            truth = np.where(next(regions), label[i], np.uint8(IGNORED))
            network.append(confusion_matrix(truth, predicted[i], classes))
            known = truth != IGNORED
            before.add(softmax(outputs[i][known]), truth[known])
            after.add(softmax(calibrated[i][known]), truth[known])
            if baseline is not None:
                probability = baseline.probabilities(image[i], known, classes)
                of_trees.add(probability, truth[known])
                guess = probability.argmax(axis=-1).astype(np.uint8)
                trees.append(confusion_matrix(truth[known], guess, classes))
            if known.any() and len(shown) < pictures:
                shown.append(_shown(image[i], label[i], predicted[i], baseline))
    return SplitPrediction(
        network=np.stack(network),
        baseline=np.stack(trees) if trees else None,
        before=before.top,
        after=after.top,
        before_by_class=before.by_class,
        after_by_class=after.by_class,
        baseline_reliability=of_trees.top if trees else None,
        baseline_by_class=of_trees.by_class if trees else None,
        shown=tuple(shown),
    )


def _outputs(
    logits: Logits, image: np.ndarray, calibration: Calibration, tta: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits, and calibrated ones; with `tta` the logarithms of mean probabilities."""
    if not tta:
        outputs = logits(image)
        return outputs, calibration.apply(outputs)

    def both(turned: np.ndarray) -> np.ndarray:
        outputs = logits(turned)
        pair = softmax(outputs), softmax(calibration.apply(outputs))
        return np.concatenate(pair, axis=-1)

    means = np.log(np.maximum(mean_over_orientations(both, image), np.finfo(np.float32).tiny))
    before, after = np.split(means, 2, axis=-1)
    return before, after


class _Judgement:
    """Sums the reliability of the most probable class and of every class."""

    def __init__(self, classes: int) -> None:
        self.top = Reliability.of(np.zeros(0), np.zeros(0, bool))
        self.by_class = Reliability.by_class(np.zeros((0, classes)), np.zeros(0, int))

    def add(self, probability: np.ndarray, label: np.ndarray) -> None:
        correct = probability.argmax(axis=-1) == label
        self.top += Reliability.of(probability.max(axis=-1), correct)
        self.by_class += Reliability.by_class(probability, label)


def _shown(
    image: np.ndarray, label: np.ndarray, predicted: np.ndarray, baseline: Baseline | None
) -> Shown:
    guess = None if baseline is None else baseline.predict(image)
    return Shown(image=image, label=label, network=predicted, baseline=guess)
