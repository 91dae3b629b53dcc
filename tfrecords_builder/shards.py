"""Shards: which record goes into which file, and where in it.

The length of a record does not depend on its pixels, so the plan alone tells where each record
lies. Every scene's process writes its records straight to their places; nothing is sorted or
copied afterwards. Then each shard is read back, verified and, where asked, compressed.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType

from landcover_tf.datasets.dataset_shards import ShardInfo
from landcover_tf.datasets.tfrecord import FRAME_BYTES, describe, frame, read_framed, write_framed
from landcover_tf.errors import DatasetError, OutputError
from landcover_tf.system.files import atomic_path, read_json, require_space, write_json

OPEN_FILES = 64
"""Shards that a process keeps open; a scene's records are spread over all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRecord:
    """A record that is to be cut."""

    key: str
    length: int
    """Bytes, without its frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordPlace:
    """Where a record goes."""

    path: Path
    offset: int


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write."""

    name: str
    records: tuple[PlannedRecord, ...]
    """In the order of the file."""
    compression: str
    folder: Path

    @property
    def path(self) -> Path:
        """The shard, before it is moved to the output folder."""
        return self.folder / self.name

    @property
    def raw_path(self) -> Path:
        """Where the records are put: the shard itself, unless it is compressed afterwards."""
        return self.path if self.compression == "none" else self.folder / f"{self.name}.raw"

    @property
    def raw_bytes(self) -> int:
        """Size of the file of framed records."""
        return sum(record.length + FRAME_BYTES for record in self.records)

    @property
    def result_path(self) -> Path:
        """What was written; it comes last and says that the shard is done."""
        return self.folder / f"{self.name}.json"

    def places(self) -> dict[str, RecordPlace]:
        """Returns where each key's record goes."""
        lengths = [record.length + FRAME_BYTES for record in self.records]
        path = self.raw_path  # One for all; a path takes more memory than the rest of a place.
        return {
            record.key: RecordPlace(path=path, offset=offset)
            for record, offset in zip(self.records, accumulate(lengths, initial=0), strict=False)
        }


class ShardWriter:
    """Puts records into their places; keeps some shards open."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def put(self, place: RecordPlace, parts: Sequence[bytes]) -> None:
        """Writes a record, given in parts, with its frame.

        Raises:
            OutputError: The disk refuses.
        """
        try:
            if place.path not in self._files:
                if len(self._files) >= OPEN_FILES:
                    self._close()
                self._files[place.path] = os.open(place.path, os.O_WRONLY)
            _write_at(self._files[place.path], frame(parts), place.offset)
        except OSError as error:
            raise OutputError(f"cannot write {place.path}: {error}") from error

    def _close(self) -> None:
        while self._files:
            # A network disk may report only now that it is full.
            os.close(self._files.popitem()[1])


def shard_name(split: str, number: int, total: int) -> str:
    """Returns the file name of a shard."""
    return f"{split}-{number:05d}-of-{total:05d}.tfrecord"


def shard_jobs(
    split: str,
    records: Sequence[PlannedRecord],
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


def reserve(jobs: Sequence[ShardJob]) -> None:
    """Makes the files that records are put into, of their final size and empty.

    Files that are there keep what an interrupted build has put into them.

    Raises:
        OutputError: The disk has not the room for all of them, or refuses.
    """
    waiting = [job for job in jobs if not job.result_path.is_file()]
    if waiting:
        require_space(waiting[0].folder, _unwritten_bytes(waiting), "the rest of the dataset")
    for job in waiting:
        try:
            with job.raw_path.open("ab") as file:
                file.truncate(job.raw_bytes)
        except OSError as error:
            raise OutputError(f"cannot write {job.raw_path}: {error}") from error


def finish(job: ShardJob) -> None:
    """Reads a shard back, compresses it where asked, and writes its size and checksum.

    Raises:
        OutputError: The disk refuses, or did not keep what was written.
    """
    if job.result_path.is_file():
        return  # A cluster may run a job again.
    try:
        if job.compression == "none":
            written = describe(job.raw_path)
        else:
            with atomic_path(job.path) as temporary:
                framed = read_framed(job.raw_path)
                written = write_framed(temporary, framed, compression=job.compression)
    except DatasetError as error:
        raise OutputError(
            f"the disk did not keep what was written ({error}); look at the disk, remove the "
            "unfinished build and build again"
        ) from error
    write_json(job.result_path, {"file": job.name, **asdict(written)})
    if job.raw_path != job.path:
        job.raw_path.unlink(missing_ok=True)


def read_result(job: ShardJob) -> ShardInfo:
    """Returns what `finish` wrote."""
    return ShardInfo(**read_json(job.result_path))


def _unwritten_bytes(jobs: Sequence[ShardJob]) -> int:
    """Returns the disk space that the jobs will take beside what they have taken."""
    missing = 0
    for job in jobs:
        # A reserved file has its size, but no blocks where nothing has been written.
        taken = job.raw_path.stat().st_blocks * 512 if job.raw_path.is_file() else 0
        missing += max(job.raw_bytes - taken, 0)
    # A shard is compressed beside its records.
    return missing + max((job.raw_bytes for job in jobs if job.raw_path != job.path), default=0)


def _write_at(file: int, parts: Sequence[bytes], offset: int) -> None:
    """Writes all parts at an offset; a file may take less at a time, before a full disk."""
    written = os.pwritev(file, parts, offset)
    total = sum(map(len, parts))
    if written < total:
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            taken = os.pwrite(file, rest, offset + total - len(rest))
            rest = rest[taken:]
