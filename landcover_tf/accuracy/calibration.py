"""Do probabilities mean what they say? Reliability, calibration error, temperature.

A model is calibrated when, of the pixels it gives a class with confidence 0.8, 80 % are right.
Guo et al. 2017 (arXiv 1706.04599) define the error and the correction by one temperature.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

BINS = 15


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

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            count=self.count + other.count,
            confidence=self.confidence + other.confidence,
            correct=self.correct + other.correct,
        )

    @property
    def error(self) -> float:
        """Expected calibration error: mean |accuracy - confidence| over pixels; NaN without."""
        total = self.count.sum()
        return float(np.abs(self.correct - self.confidence).sum() / total) if total else np.nan

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
        return np.divide(sums, self.count, out=empty, where=self.count > 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities over the last axis, float of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def negative_log_likelihood(
    logits: np.ndarray, label: np.ndarray, temperature: float = 1.0
) -> float:
    """Returns the mean negative log-probability of the true class.

    Args:
        logits: float [pixels, classes].
        label: True dense class, integer [pixels].
        temperature: Logits are divided by it.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    peak = scaled.max(axis=-1)
    log_sum = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=-1))
    return float((log_sum - scaled[np.arange(len(label)), label]).mean())


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
        lambda log_t: negative_log_likelihood(logits, label, float(np.exp(log_t))),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))
