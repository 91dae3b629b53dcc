"""JPEG 2000 files seen from outside: whole or cut off, and which inner tiles are alike."""

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, Any

from landcover_tf.errors import ProductError
from landcover_tf.grid import Window
from landcover_tf.sentinel2.container import Container

_SIGNATURE = bytes.fromhex("0000000c6a5020200d0a870a")
_SOC, _SOT, _EOC = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"

TileIdentity = tuple[bytes, int, int]
"""Digest of a tile's code stream, and the tile's rows and columns."""


def describe_damage(container: Container, name: str) -> str | None:
    """Returns what is wrong with a JP2 file as a whole, or None.

    GDAL opens headers of files whose end is missing, and its decoder threads fill broken tiles
    with zeros without raising. So the boxes, the chain of tiles and the end of the code stream
    are checked here. Nothing is decoded; wrong bytes inside a tile are the checksums' business.
    """
    size = container.sizes.get(name)
    if size is None:
        return "is missing"
    if not size:
        return "is empty (0 bytes)"
    try:
        with container.open(name) as file:
            if file.read(12) != _SIGNATURE:
                return "is not a JPEG 2000 file"
            found = _code_stream(file, size)
            if found is None:
                return "has no code stream"
            start, end = found
            if end > size:
                return f"is cut off: {size} of {end} bytes are there"
            file.seek(start)
            if file.read(2) != _SOC or not _skip_main_header(file):
                return "has a broken header of its code stream"
            return _describe_tile_damage(file, end)
    except (ProductError, struct.error) as error:
        return f"cannot be read ({error})"


def _describe_tile_damage(file: IO[bytes], end: int) -> str | None:
    """Returns what is wrong with the chain of tile parts that `file` stands at the start of."""
    position = file.tell()
    while position < end - 2:
        file.seek(position)
        header = file.read(10)
        if header[:2] != _SOT:
            return f"has a broken tile: no tile starts at byte {position}"
        (length,) = struct.unpack(">I", header[6:10])
        # A length of 0 means that the last tile part reaches to the end.
        position = position + length if length else end - 2
    file.seek(end - 2)
    if position != end - 2 or file.read(2) != _EOC:
        return "is cut off: the code stream has no end"
    return None


def identical_tiles(
    container: Container, name: str, height: int, width: int, tile_shape: tuple[int, int]
) -> Iterator[tuple[Window, TileIdentity | None]]:
    """Yields the inner tiles of a JP2 with an identity that equal tiles share.

    Args:
        container: The product's files.
        name: The JP2.
        height: Rows of the image.
        width: Columns of the image.
        tile_shape: Rows and columns of an inner tile.

    Yields:
        The tile's window, and the digest of its code stream with the tile's size; None where
        the stream has an unusual layout, and the tile must be decoded to be known.
    """
    rows, cols = tile_shape
    across = -(-width // cols)
    count = across * -(-height // rows)
    digests = _tile_digests(container, name, count)
    for number in range(count):
        row, col = number // across * rows, number % across * cols
        window = Window(
            row_off=row, col_off=col, height=min(rows, height - row), width=min(cols, width - col)
        )
        digest = digests.get(number)
        yield window, None if digest is None else (digest, window.height, window.width)


def _code_stream(file: IO[bytes], size: int) -> tuple[int, int] | None:
    """Returns (start, end) of the contiguous code stream box's content."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            header = 16
        end = size if length == 0 else position + length
        if kind == b"jp2c":
            return position + header, end
        if end <= position:
            return None
        position = end
    return None


def _tile_digests(container: Container, name: str, count: int) -> dict[int, bytes]:
    """Returns the digest of each tile's parts, without their numbers; {} if it cannot be told."""
    hashes: dict[int, Any] = {}
    with container.open(name) as file:
        found = _code_stream(file, container.sizes[name])
        if found is None:
            return {}
        file.seek(found[0])
        if file.read(2) != _SOC or not _skip_main_header(file):
            return {}
        while True:
            header = file.read(12)
            if len(header) < 12 or header[:2] != _SOT:
                break
            _, number, length = struct.unpack(">HHI", header[2:10])
            if length < 12 or number >= count:
                return {}  # A length of 0 means "to the end", which one tile only may use.
            digest = hashes.setdefault(number, hashlib.sha256())
            digest.update(header[10:] + file.read(length - 12))
        return {number: digest.digest() for number, digest in hashes.items()}


def _skip_main_header(file: IO[bytes]) -> bool:
    """Moves to the first tile part; False if the header is not understood."""
    while True:
        marker = file.read(2)
        if marker == _SOT:
            file.seek(-2, 1)
            return True
        if len(marker) < 2 or marker[0] != 0xFF:
            return False
        (length,) = struct.unpack(">H", file.read(2))
        file.seek(length - 2, 1)
