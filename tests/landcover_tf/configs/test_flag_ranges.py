"""What lies in a range and what is said of the rest."""

import math
import re
from types import SimpleNamespace

import pytest

from landcover_tf.configs import flag_ranges
from landcover_tf.errors import ConfigError

CASES = {
    "at least 1": (
        lambda c: flag_ranges.at_least(c, 1, "batch_size"),
        (1, 7, None),
        {
            0: "must be at least 1, got 0",
            math.nan: "must be at least 1, got nan",
            math.inf: "must be finite, got inf",
        },
    ),
    "not negative": (
        lambda c: flag_ranges.at_least(c, 0, "batch_size"),
        (0, 0.5, None),
        {-1: "must not be negative, got -1"},
    ),
    "finite": (
        lambda c: flag_ranges.finite(c, "batch_size"),
        (-3, 0.5, None),
        {v: f"must be finite, got {v}" for v in (math.inf, -math.inf, math.nan)},
    ),
    "above 0": (
        lambda c: flag_ranges.above_zero(c, "batch_size"),
        (1e-9, 5, None),
        {v: f"must be above 0 and finite, got {v}" for v in (0, -2, math.inf, math.nan)},
    ),
    "closed": (
        lambda c: flag_ranges.within(c, 0, 5, "batch_size"),
        (0, 5, None),
        {v: f"must be in [0, 5], got {v}" for v in (-1, 6, math.nan)},
    ),
    "half open": (
        lambda c: flag_ranges.within(c, 0, 1, "batch_size", ends="[)"),
        (0, 0.999),
        {v: f"must be in [0, 1), got {v}" for v in (-0.1, 1)},
    ),
    "open": (
        lambda c: flag_ranges.within(c, 0, 0.5, "batch_size", ends="()"),
        (0.1,),
        {v: f"must be in (0, 0.5), got {v}" for v in (0, 0.5)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_range_takes_what_is_in_it_and_names_flag_range_and_value(name):
    check, inside, outside = CASES[name]
    for value in inside:
        check(SimpleNamespace(batch_size=value))
    for value, message in outside.items():
        with pytest.raises(ConfigError, match=re.escape(f"--batch-size {message}") + "$"):
            check(SimpleNamespace(batch_size=value))
