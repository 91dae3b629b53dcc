"""Learning-rate schedules by hand."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.training.schedules import Plateau, Schedule


def schedule(kind: str, **changes) -> Schedule:
    values = dict(kind=kind, total_steps=11, warmup_fraction=0.0, final_factor=0.1)
    return Schedule(**(values | changes))


def test_factors_by_hand():
    # Step 5 of 0..10 is half way: cos(pi / 2) = 0, so the mean of 1 and 0.1.
    assert schedule("cosine").factor(5) == pytest.approx(0.55)
    assert schedule("polynomial").factor(5) == pytest.approx(0.1 + 0.9 * 0.5**0.9)
    assert schedule("constant").factor(5) == schedule("plateau").factor(5) == 1
    for kind in ("cosine", "polynomial", "one-cycle"):
        assert schedule(kind).factor(0) == pytest.approx(1)
        assert schedule(kind).factor(10) == schedule(kind).factor(99) == pytest.approx(0.1)


def test_warm_up_by_hand():
    # A fifth of 20 steps: linear 1/4, 2/4, 3/4, 1; the cycle starts at 1/25.
    linear = schedule("cosine", total_steps=20, warmup_fraction=0.2)
    assert [linear.factor(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])
    cycle = schedule("one-cycle", total_steps=20, warmup_fraction=0.2)
    assert cycle.factor(0) == pytest.approx(0.04)
    assert cycle.factor(2) == pytest.approx((0.04 + 1) / 2)
    assert cycle.factor(4) == pytest.approx(1)


@given(
    kind=st.sampled_from(["one-cycle", "cosine", "polynomial", "plateau", "constant"]),
    total=st.integers(1, 300),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
)
def test_factors_rise_then_fall_within_bounds(kind, total, warmup, final):
    made = schedule(kind, total_steps=total, warmup_fraction=warmup, final_factor=final)
    factors = [made.factor(step) for step in range(total)]
    assert all(0 <= f <= 1 + 1e-12 for f in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    falling = factors[peak:]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(falling))


def test_a_plateau_drops_after_its_patience_and_survives_a_restart():
    plateau = Plateau(patience=2, drop=0.5)
    factors = []
    for score in (0.1, 0.3, 0.3, 0.2, math.nan, 0.1, 0.4):
        restored = Plateau(patience=2, drop=0.5)
        restored.restore(plateau.to_dict())
        plateau = restored
        plateau.update(score)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "step"}, "schedule must be one of"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"final_factor": 2.0}, "final_lr_factor"),
    ],
)
def test_impossible_schedules_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        schedule(**({"kind": "cosine"} | changes))
