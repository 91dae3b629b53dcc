"""What a search is going to train, and whether it trained all of it."""

import math
from itertools import islice
from typing import Any

from tuning.oracles import HyperbandOracle
from tuning.space import SearchSpace

COUNTED = 500
"""Combinations of a space up to which those that the training allows are counted, 0.02 s each."""


def tell_plan(oracle: HyperbandOracle, space: SearchSpace) -> None:
    """Prints how many trials and epochs a Hyperband search takes."""
    most, _ = hyperband_plan(oracle, math.inf)
    combinations = allowed_combinations(oracle, space, most)
    trials, epochs = hyperband_plan(oracle, combinations)
    few = f" instead of {most}, as the space allows {combinations:.0f} combinations"
    print(
        f"Hyperband trains {trials} trials{few if trials < most else ''}, {epochs} epochs in "
        "all, whatever --max-trials says",
        flush=True,
    )


def tell_end(oracle: Any) -> None:
    """Prints that a random or Bayesian search has ended early, if it has."""
    # Hyperband's has no such number.
    if oracle.max_trials and len(oracle.trials) < oracle.max_trials:
        print(
            f"the search ends after {len(oracle.trials)} of {oracle.max_trials} trials: it finds "
            "no further combination of settings that the training allows",
            flush=True,
        )


def allowed_combinations(oracle: Any, space: SearchSpace, enough: int) -> float:
    """Returns how many combinations the training allows; of a large space, how many there are.

    Args:
        oracle: The oracle of the search.
        space: Its space.
        enough: Number at which the count may end.
    """
    if space.combinations > COUNTED:
        return space.combinations
    return sum(1 for _ in islice(filter(oracle.allows, space.chosen()), enough))


def hyperband_plan(oracle: HyperbandOracle, combinations: float) -> tuple[int, int]:
    """Returns the most trials of a whole Hyperband search, and the sum of their epochs.

    Args:
        oracle: The oracle of the search.
        combinations: Different settings that its space allows.
    """
    trials = epochs = 0
    for number in reversed(range(oracle._get_num_brackets())):
        drawn = int(min(oracle._get_size(number, 0), combinations))
        combinations -= drawn
        for place in range(number + 1):
            size = oracle.round_size(drawn, place)
            trials += size
            epochs += size * oracle._get_epochs(number, place)
    return trials, epochs
