"""Ground of datasets that were built before, which keeps its split in a new one.

A block that holds centres of their patches gets the split of most of them. Patches at its border
reach into other blocks, so a new patch that comes within the gap of one of another split is left
out, whichever of the two splits is the higher: no pixel is in one split before and in another now.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrecords_builder.footprints import Footprints, PatchPlace


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierPatch:
    """A record of an earlier dataset."""

    split: str
    place: PatchPlace


def splits_of_units(names: Sequence[str], earlier: Sequence[EarlierPatch]) -> dict[str, str]:
    """Returns the split of the most patches in each unit, given the unit of each patch."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, patch in zip(names, earlier, strict=True):
        votes[name][patch.split] += 1
    return {name: counts.most_common(1)[0][0] for name, counts in votes.items()}


def near_other_split(
    splits: Sequence[str | None],
    earlier: Sequence[EarlierPatch],
    footprints: Footprints,
    gap_px: int,
) -> list[int]:
    """Returns the new patches that come within the gap of an earlier one of another split.

    Args:
        splits: Split of each new patch; None has none.
        earlier: Earlier patches.
        footprints: Ground of the new patches, then of the earlier ones.
        gap_px: Least distance in pixels.
    """
    near: set[int] = set()
    own = np.array([str(split) for split in splits])
    theirs = np.array([patch.split for patch in earlier])
    for split in sorted(set(theirs.tolist())):
        new = np.flatnonzero((own != split) & (own != "None"))
        old = len(splits) + np.flatnonzero(theirs == split)
        is_old = np.repeat([0, 1], [len(new), len(old)])
        pairs = footprints.subset(np.concatenate([new, old])).close_pairs(gap_px, is_old)
        near |= set(new[pairs[is_old[pairs] == 0]].tolist())
    return sorted(near)
