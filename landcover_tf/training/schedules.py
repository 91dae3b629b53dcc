"""Learning-rate schedules: the share of the peak rate at each optimizer step.

Plain functions of the step number, so that a resumed run needs nothing but its step to go on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

ScheduleKind = Literal["one-cycle", "cosine", "polynomial", "plateau", "constant"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The factor on the peak learning rate, from the first step to the last."""

    kind: ScheduleKind
    total_steps: int
    """Optimizer steps of the whole training."""
    warmup_fraction: float
    """Share of the steps over which the rate rises to its peak."""
    final_factor: float
    """Factor at the last step."""
    power: float = 0.9
    """Exponent of the polynomial schedule."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleKind):
            raise ValueError(f"schedule must be one of {get_args(ScheduleKind)}, got {self.kind!r}")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(f"warmup_fraction must be in [0, 1), got {self.warmup_fraction}")
        if not 0 <= self.final_factor <= 1:
            raise ValueError(f"final_lr_factor must be in [0, 1], got {self.final_factor}")

    def factor(self, step: int) -> float:
        """Returns the factor for optimizer step `step`, counted from 0.

        `one-cycle` rises by half a cosine from 1/25 and falls by half a cosine (Smith and Topin
        2018, arXiv 1708.07120, with the cosine annealing that PyTorch made usual); the others
        rise linearly. `cosine` then falls by half a cosine, `polynomial` by (1 - t)^power,
        `plateau` and `constant` stay; a plateau's drops come from `Plateau`.
        """
        warmup = round(self.warmup_fraction * self.total_steps)
        if step < warmup:
            if self.kind == "one-cycle":
                return _cosine(1 / 25, 1.0, step / warmup)
            return (step + 1) / warmup
        done = min((step - warmup) / max(self.total_steps - 1 - warmup, 1), 1.0)
        if self.kind in ("one-cycle", "cosine"):
            return _cosine(1.0, self.final_factor, done)
        if self.kind == "polynomial":
            return self.final_factor + (1 - self.final_factor) * math.pow(1 - done, self.power)
        return 1.0


@dataclass(kw_only=True)
class Plateau:
    """Lowers the rate when the monitored score stops improving."""

    patience: int
    """Epochs without improvement before a drop."""
    drop: float
    """Factor of each drop."""
    factor: float = 1.0
    """Product of the drops so far."""
    best: float = -math.inf
    waited: int = 0

    def update(self, score: float) -> None:
        """Takes the score of an epoch (higher is better) into account; NaN never improves."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.drop, 0

    def to_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs, without infinities, which JSON lacks."""
        best = None if math.isinf(self.best) else self.best
        return {"factor": self.factor, "best": best, "waited": self.waited}

    def restore(self, values: dict[str, Any]) -> None:
        """Goes on from what `to_dict` gave."""
        self.factor, self.waited = values["factor"], values["waited"]
        self.best = -math.inf if values["best"] is None else values["best"]


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
