"""Block-bootstrap intervals: how much a score depends on which places were scored.

Pixels of one place resemble each other, so resampling pixels would give intervals that are far
too narrow. Whole blocks (groups of patches) are resampled instead (Efron and Tibshirani 1993,
chapter 8; for maps see Wadoux et al. 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from landcover_tf.system.files import json_number

Statistic = Callable[[np.ndarray], np.ndarray]
"""From sums [n, ...], such as the confusion matrices of n samples, to values, float [n]."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score and the range that resampling gives it."""

    value: float
    low: float
    """Lower end; NaN when fewer than two blocks count, or in no bootstrap sample is the score
    defined."""
    high: float
    """Upper end; NaN as above."""
    blocks: int
    """Blocks that count: all, or for a class's score those with true pixels of the class (for
    precision, with predicted ones)."""
    dropped_fraction: float = 0.0
    """Share of the bootstrap samples in which the score is undefined, for example because they
    lack a class; the interval is that of the others."""

    def to_dict(self) -> dict[str, float | None]:
        """Returns plain values for JSON, None for what is undefined."""
        figures = {name: json_number(v) for name, v in vars(self).items() if name != "blocks"}
        return figures | {"blocks": self.blocks}


def block_matrices(matrices: np.ndarray, blocks: Sequence[str]) -> np.ndarray:
    """Returns the summed confusion matrix of each block.

    Args:
        matrices: Confusion matrices, int [patches, classes, classes].
        blocks: Name of the block of each patch.

    Returns:
        int [blocks, classes, classes], blocks in alphabetical order.
    """
    names, place = np.unique(np.asarray(blocks), return_inverse=True)
    sums = np.zeros((len(names), *matrices.shape[1:]), matrices.dtype)
    np.add.at(sums, place, matrices)
    return sums


def resample(blocks: int, *, samples: int, seed: int) -> np.ndarray:
    """Returns how often each block occurs in each bootstrap sample, int [samples, blocks]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=samples)


def resampled_sums(matrices: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the sum over each bootstrap sample's blocks, float64 [samples, ...].

    Args:
        matrices: Confusion matrices of the blocks, int [blocks, classes, classes]; or any other
            sums that are to be resampled together, [blocks, ...].
        counts: What `resample` gave. With the same counts, the difference of two models is
            resampled in pairs: put both matrices into one array.
    """
    # NumPy multiplies matrices of floats with BLAS, those of integers with a slow loop of its own.
    # Pixels are far fewer than 2**53, so that the sums are exact.
    return np.tensordot(counts.astype(np.float64), matrices.astype(np.float64), axes=1)


def class_interval(
    matrices: np.ndarray,
    score: Statistic,
    number: int,
    sums: np.ndarray,
    *,
    counted: Literal["true", "predicted"] = "true",
    confidence: float = 0.95,
) -> Interval:
    """Returns a class's score in all blocks and its percentile interval.

    A sample without counted pixels of the class does not tell how well it is found, although false
    positives elsewhere would make its IoU and F1 0: it has no score. A class whose counted pixels
    lie in one block says nothing about other places: it gets no interval.

    Args:
        matrices: Those of the blocks, int [blocks, classes, classes].
        score: A score by class, float [n, classes].
        number: Dense number of the class.
        sums: What `resampled_sums` gave.
        counted: Which pixels of the class a sample needs: true ones, or for precision, which is a
            share of these, predicted ones.
        confidence: Share of samples inside the interval.
    """

    def has_class(matrices: np.ndarray) -> np.ndarray:
        pixels: np.ndarray = matrices.sum(axis=-1 if counted == "true" else -2)[:, number]
        return pixels > 0

    def of_class(matrices: np.ndarray) -> np.ndarray:
        return np.where(has_class(matrices), score(matrices)[:, number], np.nan)

    counting = int(has_class(matrices).sum())
    found = interval(matrices, of_class, sums, blocks=counting, confidence=confidence)
    # A class that is only predicted has the IoU 0, as without intervals.
    return replace(found, value=float(score(matrices.sum(axis=0, keepdims=True))[0, number]))


def interval(
    matrices: np.ndarray,
    statistic: Statistic,
    sums: np.ndarray,
    *,
    blocks: int | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Returns a statistic of all blocks and its percentile interval.

    Args:
        matrices: Those of the blocks, [blocks, ...].
        statistic: The score.
        sums: What `resampled_sums` gave; all statistics of these blocks share it.
        blocks: How many of the blocks count, all by default.
        confidence: Share of samples inside the interval.
    """
    blocks = len(matrices) if blocks is None else blocks
    value = float(statistic(matrices.sum(axis=0, keepdims=True))[0])
    ends = {"low": np.nan, "high": np.nan}
    if blocks < 2:
        return Interval(value=value, **ends, blocks=blocks)
    values = statistic(sums)
    defined = np.isfinite(values)
    dropped = float(1 - defined.mean())
    if defined.any():
        tail = (1 - confidence) / 2
        low, high = np.quantile(values[defined], (tail, 1 - tail))
        ends = {"low": float(low), "high": float(high)}
    return Interval(value=value, **ends, blocks=blocks, dropped_fraction=dropped)
