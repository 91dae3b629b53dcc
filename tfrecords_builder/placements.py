"""What became of each candidate, and the refusal of splits that stay empty."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from landcover_tf.errors import DatasetError
from tfrecords_builder.config import BuildConfig

TOO_FEW_VALID = "too few usable pixels"
TOO_FEW_LABELLED = "too few labelled pixels"
IN_GAP = "within the gap to another split"
NEAR_EARLIER = "within the gap to another split of --split-like"
OUTSIDE_ZONES = "outside the zones"
_PRESCRIBED_ADVICE = (
    "look at the images and labels of that split, lower --min-labelled-fraction or --gap-px, or "
    "prescribe no such split"
)


class TooFewError(DatasetError):
    """Not every split got patches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What became of a candidate."""

    split: str | None
    """None for a dropped one."""
    group: str
    """The unit that was kept whole (a block, scene, tile, zone or group), or with given splits
    the group or else the image."""
    reason: str = ""
    """Why it was dropped."""


def require_units(names: Sequence[str], splits: Sequence[str], config: BuildConfig) -> None:
    """Refuses fewer units than splits.

    Raises:
        TooFewError: There are.
    """
    if len(names) < len(splits):
        raise TooFewError(
            f"the splits {', '.join(splits)} need at least {len(splits)} {_units_word(config)}, "
            f"but the patches lie in {len(names)}; {_advice(config)}"
        )


def require_filled(
    placements: Sequence[Placement],
    prescribed: Sequence[str],
    units: int,
    dropped: Mapping[str, int],
    config: BuildConfig,
) -> None:
    """Refuses a split without patches.

    Args:
        placements: Places of all candidates.
        prescribed: Splits that the input prescribes; empty where the config's shares hold.
        units: Units that were kept whole; 0 where there are none.
        dropped: Patches that never became candidates, by reason.
        config: Settings of the build.

    Raises:
        TooFewError: There is one.
    """
    have = Counter(placement.split for placement in placements)
    empty = [split for split in prescribed or config.fractions if not have[split]]
    if not empty:
        return
    where = f" in {units} {_units_word(config)} and a gap of {config.gap} pixels" if units else ""
    reasons = Counter(placement.reason for placement in placements if not placement.split)
    counts = ", ".join(f"{n} {why}" for why, n in sorted((reasons + Counter(dropped)).items()))
    raise TooFewError(
        f"no patch is left for {' and '.join(empty)}: there are {len(placements)} patches{where}"
        f"{f', dropped were {counts}' if counts else ''}; "
        f"{_PRESCRIBED_ADVICE if prescribed else _advice(config)}"
    )


def _units_word(config: BuildConfig) -> str:
    return {"blocks": "blocks", "group": "groups", "given": "images"}.get(
        config.split, config.split
    )


def _advice(config: BuildConfig) -> str:
    smaller = math.ceil(config.patch_size / 2)
    parts = [f"use a smaller --patch-size (for example {smaller}) or --gap-px"]
    if config.split == "blocks":
        parts.append("another --block-size-m")
    elif config.split != "random":
        parts.append("--split blocks if images cover the same ground")
    return ", ".join([*parts, "more input, or --test-fraction 0"])
