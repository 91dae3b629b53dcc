"""Records of a finished dataset, read back one by one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.dataset_shards import ShardInfo
from landcover_tf.datasets.records import Patch, decode
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.errors import DatasetError
from landcover_tf.system.executors import usable_cores

WORTH_A_PROCESS_BYTES = 2**28
"""Of records; a process takes as long to start as to read some of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPatch:
    """A record and where it lies."""

    patch: Patch
    split: str
    shard: str
    position: int


def stored_patches(
    folder: Path, info: DatasetInfo, splits: tuple[str, ...] | None = None
) -> Iterator[StoredPatch]:
    """Yields the records of some splits, or of all, in order.

    Raises:
        DatasetError: A shard or a record is damaged.
    """
    for split, described in info.splits.items():
        for shard in described.shards if splits is None or split in splits else ():
            yield from shard_patches(folder, info, split, shard.file)


def shard_patches(
    folder: Path, info: DatasetInfo, split: str, shard_file: str
) -> Iterator[StoredPatch]:
    """Yields the records of a shard in order.

    Raises:
        DatasetError: The shard or a record is damaged.
    """
    for position, record in enumerate(read_records(folder / shard_file, info.compression)):
        where = f"shard {folder / shard_file}, record {position}"
        yield StoredPatch(
            patch=decode(record, where=where), split=split, shard=shard_file, position=position
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredShard:
    """A shard to read, as a process gets it."""

    folder: Path
    info: DatasetInfo
    split: str
    shard: ShardInfo


def stored_shards(folder: Path, info: DatasetInfo) -> list[StoredShard]:
    """Returns the shards of a dataset, split by split."""
    return [
        StoredShard(folder=folder, info=info, split=name, shard=shard)
        for name, split in info.splits.items()
        for shard in split.shards
    ]


def processes(info: DatasetInfo, jobs: int | None) -> int:
    """Returns `jobs`, or if that is None a process per core as far as there is work for them."""
    shards = [shard for split in info.splits.values() for shard in split.shards]
    work = math.ceil(sum(shard.bytes for shard in shards) / WORTH_A_PROCESS_BYTES)
    return max(min(usable_cores(), len(shards), work), 1) if jobs is None else jobs


def record_at(folder: Path, info: DatasetInfo, shard_file: str, position: int) -> Patch:
    """Returns the record at a place that the patch index names.

    Raises:
        DatasetError: There is no such record.
    """
    for split in info.splits.values():
        for shard in split.shards:
            if shard.file != shard_file:
                continue
            for number, record in enumerate(read_records(folder / shard.file, info.compression)):
                if number == position:
                    return decode(record, where=f"shard {shard_file}, record {position}")
    raise DatasetError(f"dataset {folder} has no record {position} in shard {shard_file!r}")
