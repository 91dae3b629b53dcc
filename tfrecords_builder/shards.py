"""Shards: which records go into which file, in which order, and writing them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from landcover_tf.dataset_info import ShardInfo
from landcover_tf.errors import OutputError
from landcover_tf.files import atomic_path, read_json, write_json
from landcover_tf.tfrecord import write_framed


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Where a record, framed already, lies until it goes into its shard."""

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
    with atomic_path(job.path) as temporary:
        written = write_framed(temporary, _read(job), compression=job.compression)
    write_json(job.result_path, {"file": job.name, **asdict(written)})


def read_result(job: ShardJob) -> ShardInfo:
    """Returns what `write` wrote."""
    return ShardInfo(**read_json(job.result_path))


def _read(job: ShardJob) -> Iterator[bytes]:
    for record in job.records:
        with record.file.open("rb", buffering=0) as file:
            file.seek(record.offset)
            framed = file.read(record.length)
        if len(framed) != record.length:
            raise OutputError(f"{record.file} was cut short; remove the unfinished build")
        yield framed
