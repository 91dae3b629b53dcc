"""How much a pixel of each class counts in the loss, from how often the class occurs."""

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from landcover_tf.errors import ConfigError

MAX_CLASS_WEIGHT = 10.0
"""Automatic weights of the rarest and the most frequent class differ by no more than this."""


def class_weights(
    kind: str | Sequence[float], class_pixels: Sequence[int]
) -> tuple[float, ...] | None:
    """Returns the weight of each class in the pixel term, or None for equal weights.

    Args:
        kind: "none"; "auto": square root of the inverse frequency; "effective-number": 1 over
            1 - b^n with b = 1 - 1/N for n of N pixels (Cui et al. 2019), close to the inverse
            frequency; or the weights themselves, one number per class.
        class_pixels: Valid training pixels of each class, in dense order.

    Returns:
        Weights in dense order. Automatic ones give the most frequent class 1 and no class more
        than `MAX_CLASS_WEIGHT`. A class without pixels gets 0: nothing of it can be learnt. Only
        ratios matter, because the pixel term divides by the sum of its pixels' weights.

    Raises:
        ConfigError: The kind is unknown, or the list is not one finite number >= 0 per class.
    """
    if not isinstance(kind, str):
        return _given_weights(kind, len(class_pixels))
    if kind == "none":
        return None
    counts = np.asarray(class_pixels, np.float64)
    if not counts.sum():
        raise ConfigError("class weights need labelled training pixels; the dataset has none")
    frequency = counts / counts.sum()
    with np.errstate(divide="ignore"):
        if kind == "auto":
            weights = 1 / np.sqrt(frequency)
        elif kind == "effective-number":
            # (1 - 1/N)^n by logarithms: the power itself rounds to 1 for N of many millions.
            total = max(counts.sum(), 2.0)
            weights = 1 / -np.expm1(counts * np.log1p(-1 / total))
        else:
            raise ConfigError(
                "expected class weights auto, none, effective-number or one number per class; "
                f"got {kind!r}"
            )
    weights = np.minimum(weights / weights.min(), MAX_CLASS_WEIGHT)
    return tuple(np.where(counts > 0, weights, 0.0).tolist())


def check_given(weights: Sequence[float]) -> None:
    """Checks weights that are given as numbers, as far as that needs no legend.

    Raises:
        ConfigError: One is no finite number >= 0, or none is above 0.
    """
    sound = all(isinstance(w, Real) and 0 <= w < math.inf for w in weights)
    if not sound or not any(weights):
        raise ConfigError(
            "--class-weights expects finite numbers >= 0, at least one of them above 0, got "
            f"{' '.join(map(str, weights)) or 'none'}"
        )


def _given_weights(weights: Sequence[float], classes: int) -> tuple[float, ...]:
    check_given(weights)
    if len(weights) != classes:
        raise ConfigError(
            f"--class-weights expects {classes} numbers, one for each class of the legend, got "
            f"{len(weights)}"
        )
    return tuple(float(w) for w in weights)
