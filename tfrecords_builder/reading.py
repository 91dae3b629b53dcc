"""Records of a finished dataset, read back one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_tf.dataset_info import DatasetInfo, ShardInfo
from landcover_tf.errors import DatasetError
from landcover_tf.quiet import start_tensorflow

if TYPE_CHECKING:
    from landcover_tf.records import Patch


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPatch:
    """A record and where it lies."""

    patch: "Patch"
    split: str
    shard: str
    position: int


def serialized_records(folder: Path, shard: ShardInfo, compression: str) -> Iterator[bytes]:
    """Yields the records of a shard; TensorFlow verifies the checksum of each.

    Raises:
        DatasetError: The shard is missing, cut short or changed; names shard and record.
    """
    start_tensorflow()
    import tensorflow as tf

    from landcover_tf.records import compression_type

    dataset = tf.data.TFRecordDataset(str(folder / shard.file), compression_type(compression))
    position = 0
    try:
        for record in dataset.as_numpy_iterator():
            yield record
            position += 1
    except tf.errors.OpError as error:
        # TensorFlow wraps the reason in the names of its graph nodes.
        reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip()
        raise DatasetError(
            f"shard {folder / shard.file}, record {position}: {reason}; copy or build the "
            "dataset again"
        ) from error


def stored_patches(
    folder: Path, info: DatasetInfo, splits: tuple[str, ...] | None = None
) -> Iterator[StoredPatch]:
    """Yields the records of some splits, or of all, in order.

    Raises:
        DatasetError: A shard or a record is damaged.
    """
    start_tensorflow()
    from landcover_tf.records import decode

    for split, described in info.splits.items():
        for shard in described.shards if splits is None or split in splits else ():
            for position, record in enumerate(serialized_records(folder, shard, info.compression)):
                where = f"shard {folder / shard.file}, record {position}"
                yield StoredPatch(
                    patch=decode(record, where=where),
                    split=split,
                    shard=shard.file,
                    position=position,
                )


def record_at(folder: Path, info: DatasetInfo, shard_file: str, position: int) -> "Patch":
    """Returns the record at a place that the patch index names.

    Raises:
        DatasetError: There is no such record.
    """
    start_tensorflow()
    from landcover_tf.records import decode

    for split in info.splits.values():
        for shard in split.shards:
            if shard.file != shard_file:
                continue
            for number, record in enumerate(serialized_records(folder, shard, info.compression)):
                if number == position:
                    return decode(record, where=f"shard {shard_file}, record {position}")
    raise DatasetError(f"dataset {folder} has no record {position} in shard {shard_file!r}")
