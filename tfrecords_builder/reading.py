"""Records of a finished dataset, read back one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.records import Patch, decode
from landcover_tf.tfrecord import read_records


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
            for position, record in enumerate(read_records(folder / shard.file, info.compression)):
                where = f"shard {folder / shard.file}, record {position}"
                yield StoredPatch(
                    patch=decode(record, where=where),
                    split=split,
                    shard=shard.file,
                    position=position,
                )


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
