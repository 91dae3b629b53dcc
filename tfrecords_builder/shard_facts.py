"""What the audit remembers of the records of a shard; many shards can be read at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.system.executors import executor, run_jobs
from landcover_tf.validity import ValidityBit, has_bit
from tfrecords_builder.content import fingerprints
from tfrecords_builder.footprints import Footprints, PatchPlace, locate
from tfrecords_builder.reading import (
    StoredPatch,
    StoredShard,
    processes,
    shard_patches,
    stored_shards,
)

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What the audit remembers of all records, in order."""

    keys: list[str]
    split: np.ndarray
    """Number of the split, int [patches]."""
    products: list[str]
    footprints: Footprints
    samples: list[np.ndarray]
    """Fingerprints of each patch, uint64 [some]."""
    codes: np.ndarray
    """Usable pixels of each legend code in each split, int64 [splits, 256]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardFacts:
    """What the audit remembers of one shard; the lists have an item for each record."""

    keys: list[str]
    products: list[str]
    places: list[PatchPlace]
    samples: list[np.ndarray]
    codes: np.ndarray
    """Usable pixels of each legend code, int64 [256]."""


def collect(folder: Path, info: DatasetInfo, *, jobs: int | None) -> Facts:
    """Returns the facts of a dataset, the same for any number of processes.

    Args:
        folder: Folder with dataset.json.
        info: What it says.
        jobs: Processes that read shards; None is one per core as far as there is work for them.

    Raises:
        DatasetError: A shard or a record is damaged.
    """
    names = list(info.splits)
    work = stored_shards(folder, info)
    with executor(processes(info, jobs)) as pool:
        shards = run_jobs(pool, shard_facts, work, label="reading shards", unit="shard")
    codes = np.zeros((len(names), 256), np.int64)
    for job, found in zip(work, shards, strict=True):
        codes[names.index(job.split)] += found.codes
    numbers = [names.index(job.split) for job in work]
    return Facts(
        keys=_joined([found.keys for found in shards]),
        split=np.repeat(np.array(numbers, int), [len(found.keys) for found in shards]),
        products=_joined([found.products for found in shards]),
        footprints=locate(_joined([found.places for found in shards])),
        samples=_joined([found.samples for found in shards]),
        codes=codes,
    )


def shard_facts(job: StoredShard) -> ShardFacts:
    """Returns the facts of one shard."""
    facts = ShardFacts(keys=[], products=[], places=[], samples=[], codes=np.zeros(256, np.int64))
    for stored in shard_patches(job.folder, job.info, job.split, job.shard.file):
        patch = stored.patch
        facts.keys.append(patch.key)
        facts.products.append(patch.product)
        facts.places.append(data_place(stored))
        has_data = ~has_bit(patch.validity, ValidityBit.NODATA)
        facts.samples.append(fingerprints(patch.image, has_data))
        usable = job.info.usable(patch.validity)
        facts.codes[:] += np.bincount(patch.label[usable], minlength=256)
    return facts


def _joined(parts: Sequence[list[Item]]) -> list[Item]:
    return list(chain.from_iterable(parts))


def data_place(stored: StoredPatch) -> PatchPlace:
    """Returns the smallest rectangle that holds all pixels with data."""
    patch = stored.patch
    has_data = ~has_bit(patch.validity, ValidityBit.NODATA)
    rows, cols = np.flatnonzero(has_data.any(axis=1)), np.flatnonzero(has_data.any(axis=0))
    if not len(rows):
        rows, cols = np.arange(has_data.shape[0]), np.arange(has_data.shape[1])
    return PatchPlace(
        crs=patch.crs,
        raster=patch.key.rsplit(":", 2)[0],
        transform=patch.transform,
        row_off=int(rows[0]),
        col_off=int(cols[0]),
        height=int(rows[-1] - rows[0] + 1),
        width=int(cols[-1] - cols[0] + 1),
    )
