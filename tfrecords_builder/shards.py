"""Shards: which records go into which file, in which order, and writing them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.dataset_info import ShardInfo
from landcover_tf.errors import OutputError
from landcover_tf.files import atomic_path, read_json, sha256_of, write_json
from landcover_tf.quiet import start_tensorflow


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Where a finished record lies until it goes into its shard."""

    key: str
    file: Path
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write."""

    name: str
    records: tuple[RecordPlace, ...]
    """In the order of the file."""
    compression: str
    folder: Path

    @property
    def path(self) -> Path:
        """The shard, before it is moved to the output folder."""
        return self.folder / self.name

    @property
    def result_path(self) -> Path:
        """What was written; it comes last and says that the shard is done."""
        return self.folder / f"{self.name}.json"


def shard_name(split: str, number: int, total: int) -> str:
    """Returns the file name of a shard."""
    return f"{split}-{number:05d}-of-{total:05d}.tfrecord"


def shard_jobs(
    split: str,
    records: Sequence[RecordPlace],
    *,
    shard_size_bytes: float,
    compression: str,
    folder: Path,
) -> list[ShardJob]:
    """Returns the shards of a split, equal in records to within one.

    Args:
        split: Name of the split.
        records: All records of the split in their final order.
        shard_size_bytes: Aimed size before compression.
        compression: `none` or `gzip`.
        folder: Where the shards are written.
    """
    size = sum(record.length for record in records)
    total = max(min(math.ceil(size / shard_size_bytes), len(records)), 1)
    borders = [len(records) * number // total for number in range(total + 1)]
    return [
        ShardJob(
            name=shard_name(split, number, total),
            records=tuple(records[borders[number] : borders[number + 1]]),
            compression=compression,
            folder=folder,
        )
        for number in range(total)
    ]


def write(job: ShardJob) -> None:
    """Writes a shard and, when that is complete, its size and checksum.

    Raises:
        OutputError: The disk refuses.
    """
    start_tensorflow()
    import tensorflow as tf

    from landcover_tf.records import write_shard

    try:
        with atomic_path(job.path) as temporary:
            written = write_shard(temporary, _read(job), compression=job.compression)
            info = {
                "file": job.name,
                "records": written.records,
                "bytes": written.bytes,
                "sha256": sha256_of(temporary),
            }
    except tf.errors.OpError as error:
        raise OutputError(f"cannot write {job.path}: {error.message}") from error
    write_json(job.result_path, info)


def read_result(job: ShardJob) -> ShardInfo:
    """Returns what `write` wrote."""
    return ShardInfo(**read_json(job.result_path))


def _read(job: ShardJob) -> Iterator[bytes]:
    for record in job.records:
        with record.file.open("rb") as file:
            file.seek(record.offset)
            yield file.read(record.length)
