"""Datasets that were built before, whose ground keeps its split in a new one.

A block that holds centres of their patches gets the split of most of them. Patches at its border
reach into other blocks, so a new patch that comes within the gap of one of another split is left
out, whichever of the two splits is the higher: no pixel is in one split before and in another now.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.executors import executor, run_jobs
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.footprints import Footprints, PatchPlace
from tfrecords_builder.reading import processes, shard_patches
from tfrecords_builder.shard_facts import data_place


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierPatch:
    """A record of an earlier dataset."""

    split: str
    place: PatchPlace


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    folder: Path
    info: DatasetInfo
    split: str
    shard: str


def earlier_patches(config: BuildConfig) -> tuple[EarlierPatch, ...]:
    """Returns the patches of all datasets of `--split-like`, read from their records.

    Raises:
        DatasetError: One is missing or damaged, has no CRS, or has a split that the new one lacks.
    """
    found: list[EarlierPatch] = []
    for folder in config.split_like:
        info = DatasetInfo.load(folder)
        info.verify(folder, checksums=False)
        if lacking := [name for name in info.splits if name not in config.fractions]:
            raise DatasetError(
                f"{folder} has a split {lacking[0]}, for which the new dataset has no share; give "
                f"--{lacking[0]}-fraction"
            )
        work = [
            _Job(folder=folder, info=info, split=name, shard=shard.file)
            for name, split in info.splits.items()
            for shard in split.shards
        ]
        with executor(processes(info, config.jobs)) as pool:
            for patches in run_jobs(pool, _of_shard, work, label=f"reading {folder.name}"):
                found += patches
        if any(not patch.place.crs for patch in found):
            raise DatasetError(f"{folder} has images without a CRS, which lie on no known ground")
    return tuple(found)


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
        splits: Of each new patch; None has none.
        earlier: Earlier patches.
        footprints: Of the new patches, then of the earlier ones.
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


def _of_shard(job: _Job) -> list[EarlierPatch]:
    return [
        EarlierPatch(split=job.split, place=data_place(stored))
        for stored in shard_patches(job.folder, job.info, job.split, job.shard)
    ]
