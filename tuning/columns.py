"""Settings as text and as places on an axis, for tables, pictures and regressions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

LOG_RATIO = 10
"""Numbers that differ by more than this factor lie on a logarithmic axis."""


def positions(values: Sequence[Any], log_ratio: float = LOG_RATIO) -> tuple[np.ndarray, list[str]]:
    """Returns where values lie on an axis, float [n] in 0..1, and the labels of its ends or steps.

    Numbers lie by their value, or its logarithm if they span more than a factor of `log_ratio`;
    anything else lies on equal steps in the order of first appearance.
    """
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        numbers = np.array(values, float)
        low, high = numbers.min(), numbers.max()
        if low > 0 and high / low > log_ratio:
            numbers = np.log(numbers)
        spread = numbers.max() - numbers.min()
        place = (numbers - numbers.min()) / spread if spread else np.full(len(numbers), 0.5)
        return place, [text_of(low), text_of(high)]
    texts = [text_of(v) for v in values]
    steps = sorted(set(texts), key=texts.index)
    last = max(len(steps) - 1, 1)
    return np.array([steps.index(t) / last for t in texts]), steps


def text_of(value: Any) -> str:
    """Returns a setting as short text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
