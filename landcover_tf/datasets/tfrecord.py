"""TFRecord files, written and read without TensorFlow.

Each record is framed as

    uint64 length, uint32 masked CRC32C of the length, data, uint32 masked CRC32C of the data

in little-endian order (https://www.tensorflow.org/tutorials/load_data/tfrecord), and the file may
be compressed as a whole. TensorFlow's own writer takes several times as long for records of
megabytes, and seconds to import in every worker process.
"""

import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import IO

import google_crc32c

from landcover_tf.errors import DatasetError

HEADER_BYTES, FOOTER_BYTES = 12, 4
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
"""What a record takes in a file beside its own length."""
GZIP_LEVEL = 3
"""TensorFlow's own level 6 takes a third longer and makes patches of Level-1C no smaller."""

REST_BYTES = 2**20
"""What is read at once of a file to its end, behind what cannot be read as records."""

_GZIP_CONTAINER = 31


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A TFRecord file as it lies on the disk."""

    records: int
    bytes: int
    sha256: str


def frame(parts: Sequence[bytes]) -> list[bytes]:
    """Returns a record, given in parts, with what stands before and after it in a file."""
    length = struct.pack("<Q", sum(map(len, parts)))
    return [length + _checksum(length), *parts, _checksum(*parts)]


def compression_type(compression: str) -> str:
    """Returns TensorFlow's name of a dataset's compression.

    Raises:
        DatasetError: It is neither `none` nor `gzip`.
    """
    try:
        return {"none": "", "gzip": "GZIP"}[compression]
    except KeyError:
        raise DatasetError(f"compression must be none or gzip, got {compression!r}") from None


def write_framed(path: str | Path, framed: Iterable[bytes], *, compression: str) -> WrittenFile:
    """Writes framed records to a file and returns what was written.

    Equal records give equal files: the gzip header carries neither name nor time.

    Args:
        path: The file; write to a temporary name and rename it yourself.
        framed: Whole records in order, each with its header and footer.
        compression: `none` or `gzip`.
    """
    zipped = compression_type(compression) == "GZIP"
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER) if zipped else None
    digest = hashlib.sha256()
    records = size = 0
    # Records are larger than any buffer, which would only copy them once more.
    with Path(path).open("wb", buffering=0) as file:

        def put(data: bytes) -> int:
            digest.update(data)
            return _write_all(file, data)

        for record in framed:
            size += put(record if packer is None else packer.compress(record))
            records += 1
        if packer is not None:
            size += put(packer.flush())
    return WrittenFile(records=records, bytes=size, sha256=digest.hexdigest())


def describe(path: str | Path) -> WrittenFile:
    """Returns what lies in an uncompressed file; every record is read back and verified.

    Raises:
        DatasetError: A record is cut short or changed; names file and record.
    """
    digest = hashlib.sha256()
    records = size = 0
    for record in _read_framed(path, "none"):
        for part in record:
            digest.update(part)
            size += len(part)
        records += 1
    return WrittenFile(records=records, bytes=size, sha256=digest.hexdigest())


def read_records(
    path: str | Path,
    compression: str,
    *,
    digest: "hashlib._Hash | None" = None,
    damaged: list[int] | None = None,
) -> Iterator[bytes]:
    """Yields the records of a file; the checksum of each is verified.

    Args:
        path: The file.
        compression: `none` or `gzip`.
        digest: Gets all bytes of the file, also those after a damaged record, unless the reading
            is given up before its end.
        damaged: Gets the positions of records whose checksum differs, which are left out; without
            it they are errors.

    Raises:
        DatasetError: The file is missing, cut short or changed; names file and record.
    """
    for _, record, _ in _read_framed(path, compression, digest, damaged):
        yield record


def read_framed(path: str | Path) -> Iterator[bytes]:
    """Yields the records of an uncompressed file as `write_framed` takes them, verified."""
    return map(b"".join, _read_framed(path, "none"))


def _read_framed(
    path: str | Path,
    compression: str,
    digest: "hashlib._Hash | None" = None,
    damaged: list[int] | None = None,
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yields header, record and footer."""
    zipped = compression_type(compression) == "GZIP"
    position = 0
    try:
        with _HashedFile(path, digest) as raw:
            file = gzip.GzipFile(fileobj=raw, mode="rb") if zipped else raw
            while (framed := _read_record(file)) is not None:
                if _checksum(framed[1]) == framed[2]:
                    yield framed
                elif damaged is None:
                    raise ValueError("corrupted record, its checksum differs")
                else:
                    damaged.append(position)
                position += 1
    except FileNotFoundError as error:
        raise DatasetError(f"shard {path} is missing; copy or build the dataset again") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DatasetError(
            f"shard {path}, record {position}: {error}; copy or build the dataset again"
        ) from error


class _HashedFile(io.BufferedReader):
    """A file to read, whose bytes are hashed on the way where there is a digest."""

    def __init__(self, path: str | Path, digest: "hashlib._Hash | None") -> None:
        super().__init__(io.FileIO(path))
        self._digest = digest

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self._digest is not None:
            self._digest.update(data)
        return data

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._digest is not None and kind is not GeneratorExit:
                while self.read(REST_BYTES):
                    pass
        finally:
            self.close()


def _read_record(file: IO[bytes] | gzip.GzipFile) -> tuple[bytes, bytes, bytes] | None:
    """Returns the next record with its header and footer, None at the end; it may be changed.

    Raises:
        ValueError: It is cut short, or its length is changed.
    """
    header = file.read(HEADER_BYTES)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise ValueError("truncated record, its header is cut short")
    if _checksum(header[:8]) != header[8:]:
        # The length decides where the next record begins, so nothing after it can be read.
        raise ValueError("corrupted record, the checksum of its length differs")
    (length,) = struct.unpack("<Q", header[:8])
    record = file.read(length)
    footer = file.read(FOOTER_BYTES)
    if len(record) + len(footer) < length + FOOTER_BYTES:
        raise ValueError(f"truncated record, {len(record)} bytes instead of {length}")
    return header, record, footer


def _checksum(*parts: bytes) -> bytes:
    """Returns the masked CRC32C; masked, because data may itself hold checksums."""
    crc = reduce(google_crc32c.extend, parts, 0)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _write_all(file: IO[bytes], data: bytes) -> int:
    """Writes all of `data`; an unbuffered file may take less at a time, before a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)
