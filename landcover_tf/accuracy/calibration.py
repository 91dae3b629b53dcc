"""Do probabilities mean what they say? Reliability, calibration error, and their correction.

A model is calibrated when, of the pixels it gives a class with confidence 0.8, 80 % are right.
Guo et al. 2017 (arXiv 1706.04599) define the error and the corrections by one temperature and by a
factor and an offset per class (vector scaling).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

BINS = 15

FACTORS = (0.05, 20.0)
"""Least and greatest factor of a logit, and so of a temperature."""

RIDGE = 1e-4
"""Pull of vector scaling towards the temperature; without it a common offset is not determined."""

CLASS_PIXELS = 100
"""A class with fewer pixels keeps the temperature under vector scaling."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Confidence against correctness in bins of equal width; sums, so that batches add up."""

    count: np.ndarray
    """Pixels in each bin, int64 [..., bins]."""
    confidence: np.ndarray
    """Summed confidence, float64 [..., bins]."""
    correct: np.ndarray
    """Correct pixels, int64 [..., bins]."""

    @staticmethod
    def of(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> "Reliability":
        """Returns the reliability of single pixels.

        Args:
            confidence: Probability of the predicted class, float [pixels].
            correct: True where the prediction is right, bool [pixels].
            bins: Number of bins on [0, 1].
        """
        place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        return Reliability(
            count=np.bincount(place, minlength=bins),
            confidence=np.bincount(place, confidence.astype(np.float64), bins),
            correct=np.bincount(place[correct], minlength=bins),
        )

    @staticmethod
    def by_class(probability: np.ndarray, label: np.ndarray, bins: int = BINS) -> "Reliability":
        """Returns the reliability of each class against the rest, [classes, bins].

        Args:
            probability: float [pixels, classes].
            label: True dense class, integer [pixels].
            bins: Number of bins on [0, 1].
        """
        each = [
            Reliability.of(probability[:, i], label == i, bins) for i in range(probability.shape[1])
        ]
        return Reliability(
            count=np.stack([r.count for r in each]),
            confidence=np.stack([r.confidence for r in each]),
            correct=np.stack([r.correct for r in each]),
        )

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            count=self.count + other.count,
            confidence=self.confidence + other.confidence,
            correct=self.correct + other.correct,
        )

    @property
    def error(self) -> np.ndarray:
        """Expected calibration error, mean |accuracy - confidence| over pixels; NaN without."""
        total = self.count.sum(axis=-1)
        gap = np.abs(self.correct - self.confidence).sum(axis=-1)
        mean = np.full(total.shape, np.nan)
        return np.asarray(np.divide(gap, total, out=mean, where=total > 0))

    @property
    def mean_confidence(self) -> np.ndarray:
        """Mean confidence of each bin, NaN where empty, float [bins]."""
        return self._per_pixel(self.confidence)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of correct pixels of each bin, NaN where empty, float [bins]."""
        return self._per_pixel(self.correct)

    def _per_pixel(self, sums: np.ndarray) -> np.ndarray:
        empty = np.full(self.count.shape, np.nan)
        return np.asarray(np.divide(sums, self.count, out=empty, where=self.count > 0))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities over the last axis, float of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def negative_log_likelihood(logits: np.ndarray, label: np.ndarray) -> float:
    """Returns the mean negative log-probability of the true class.

    Args:
        logits: float [pixels, classes].
        label: True dense class, integer [pixels].
    """
    logits = np.asarray(logits, np.float64)
    return float((logsumexp(logits, axis=-1) - logits[np.arange(len(label)), label]).mean())


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """Returns the temperature in [0.05, 20] with the highest likelihood, 1 without pixels.

    One number cannot overfit and changes no class, only how sure the model says it is.

    Args:
        logits: float [pixels, classes], of pixels that training did not see.
        label: True dense class, integer [pixels].
    """
    if not len(label):
        return 1.0
    found = minimize_scalar(
        # In the logarithm the likelihood is closer to a parabola.
        lambda log_t: negative_log_likelihood(logits / np.exp(log_t), label),
        bounds=(-np.log(FACTORS[1]), -np.log(FACTORS[0])),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def at_limit(factors: Sequence[float]) -> bool:
    """Returns whether a fitted factor is at an end of its range, where the pixels had no say."""
    return any(not FACTORS[0] * 1.01 < factor < FACTORS[1] / 1.01 for factor in factors)


def fit_vector(logits: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a factor and an offset for the logit of each class, of the highest likelihood.

    Unlike a temperature they can change which class is the most probable, and so correct a
    prediction that favours a class. Classes with under `CLASS_PIXELS` pixels keep the temperature.

    Args:
        logits: float [pixels, classes], of pixels that training did not see.
        label: True dense class, integer [pixels].

    Returns:
        Factors and offsets, float64 [classes] each.
    """
    classes = logits.shape[1]
    start = np.concatenate(
        [np.full(classes, 1 / fit_temperature(logits, label)), np.zeros(classes)]
    )
    count = np.bincount(label, minlength=classes)
    free = count >= CLASS_PIXELS
    if free.sum() < 2:
        return start[:classes], start[classes:]
    logits = np.asarray(logits, np.float64)
    truth = np.eye(classes)[label]

    def loss_and_slope(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = logits * parameters[:classes] + parameters[classes:]
        error = (softmax(scaled) - truth) / len(label)
        slope = np.concatenate([(error * logits).sum(axis=0), error.sum(axis=0)])
        pull = parameters - start
        loss = negative_log_likelihood(scaled, label) + RIDGE * (pull**2).sum()
        return loss, slope + 2 * RIDGE * pull

    factors = [FACTORS if fit else (start[0], start[0]) for fit in free]
    offsets = [(None, None) if fit else (0.0, 0.0) for fit in free]
    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=factors + offsets)
    return found.x[:classes], found.x[classes:]
