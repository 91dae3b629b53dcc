"""Files written whole or not at all, their checksums, and the names of a map's companions."""

import glob
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from landcover_tf.errors import ConfigError, LandCoverError, OutputError

_IDLE_S = 900.0
"""Time without a change after which nobody writes to a temporary folder any more."""

# What the system says of it (ENOSPC, EDQUOT, EFBIG), inside errors of TensorFlow and others.
_FULL_DISK = re.compile("no space left on device|disk quota exceeded|file too large", re.IGNORECASE)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed to `path` when the block succeeds.

    The temporary name keeps the suffix, because GDAL and Keras choose formats by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{_token()}.part{path.suffix}")
    missing = _missing_parents(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):  # Not there, or its folder is none.
            temporary.unlink()
        _remove_empty(missing)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` when the block succeeds.

    Args:
        path: The folder to make.
        replace: Whether it may exist; the old one stays until the new one is complete.

    Raises:
        OutputError: `path` exists already, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise OutputError(f"{path} exists already; choose another output folder or remove it")
    temporary = path.with_name(f".{path.name}.{_token()}.part")
    old = path.with_name(f".{path.name}.{_token()}.part")
    missing = _missing_parents(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if replace and path.exists():
            path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing)


@contextmanager
def atomic_files(folder: str | Path, first: str) -> Iterator[Path]:
    """Yields a temporary folder whose files move into `folder` when the block succeeds.

    Args:
        folder: Made if absent; its other files stay.
        first: Name of the file that tells whose the others are. It moves before them, so that no
            interruption leaves some without it.

    Raises:
        OutputError: The disk refuses.
    """
    folder, stem = Path(folder), Path(first).stem
    temporary = folder / f".{stem}.{_token()}.part"
    missing = _missing_parents(temporary)
    try:
        remove_leftovers(folder / stem)
        temporary.mkdir(parents=True)
        yield temporary
        for path in sorted(temporary.iterdir(), key=lambda path: path.name != first):
            path.replace(folder / path.name)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing)


def is_partial(path: Path) -> bool:
    """Returns whether a path has a temporary name of this module, as what a kill left behind."""
    return re.fullmatch(r"\..+\.[0-9a-f]+\.part(\..+)?", path.name) is not None


@contextmanager
def no_empty_folder(path: str | Path) -> Iterator[None]:
    """Removes the folder `path` if the block fails before anything is written into it."""
    try:
        yield
    except BaseException:
        _remove_empty([Path(path)])
        raise


def beside(map_path: Path, name: str) -> Path:
    """Returns the path of a map's companion file: `name` beside `map.tif`, else `<stem>_name`."""
    return map_path.with_name(name if map_path.stem == "map" else f"{map_path.stem}_{name}")


def require_space(folder: str | Path, needed_bytes: float, what: str) -> None:
    """Refuses work that the disk cannot hold, before it begins; makes the folder.

    Raises:
        OutputError: The folder cannot be made, or its disk has less than `needed_bytes` free.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error}") from error
    if needed_bytes > free:
        raise OutputError(
            f"{folder} has {free / 1e9:.1f} GB free, {what} needs {needed_bytes / 1e9:.1f} GB"
        )


def bytes_in(folder: Path) -> int:
    """Returns the sizes of all files in a folder, at any depth; 0 where it is not there."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Another process may be at work there.
            total += path.stat().st_size if path.is_file() else 0
    return total


def require_writable(folder: str | Path) -> None:
    """Refuses work whose output could not be written, before it begins; makes nothing.

    Raises:
        OutputError: The folder, or the nearest one above it that is there, cannot be written.
    """
    folder = Path(folder)
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir():
        raise OutputError(f"cannot write into {folder}: {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {folder}: no permission to write into {place}")


def require_new(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Checks that no file would be replaced unasked.

    Raises:
        OutputError: Some are there, and `overwrite` is off.
    """
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        verb, them = ("exists", "it") if len(there) == 1 else ("exist", "them")
        raise OutputError(f"{', '.join(there)} {verb} already; pass --overwrite to replace {them}")


@contextmanager
def full_disk_told(where: str | Path) -> Iterator[None]:
    """Inside the `with` block, a full disk is told as ours by whatever error a library tells of it.

    Args:
        where: What is written.

    Raises:
        OutputError: The disk is full.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, LandCoverError) or not (found := _FULL_DISK.search(str(error))):
            raise
        raise OutputError(
            f"cannot write {where}: {found[0].lower()}; make room and give the same command again"
        ) from error


def remove_leftovers(path: str | Path) -> None:
    """Removes what interrupted `atomic_folder(path)`, or `atomic_files` in its place, left behind.

    Args:
        path: The folder that was to be made.
    """
    path = Path(path)
    for folder in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        try:
            newest = max(entry.stat().st_mtime for entry in (folder, *folder.rglob("*")))
        except FileNotFoundError:
            continue  # Its owner is at work.
        if time.time() - newest > _IDLE_S:
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text as UTF-8, whatever the locale, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and the infinities are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def json_number(value: float) -> float | None:
    """Returns a number as JSON can hold it: None for NaN and the infinities."""
    return float(value) if math.isfinite(value) else None


def read_json(path: str | Path) -> Any:
    """Returns the parsed file.

    Raises:
        ConfigError: The file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KnownHashes:
    """SHA-256 of files that is kept: a file is read again only where its size or time changed.

    Args:
        path: JSON file that holds them from one process to the next; None keeps them in memory.
            A damaged one counts as empty.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known = _kept_hashes(path) if path is not None else {}

    def sha256_of(self, path: Path) -> str:
        """Returns the SHA-256 of a file's bytes in hexadecimal."""
        status = path.stat()  # Before the reading: what changes meanwhile is read again.
        stamp = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        known = self._known.get(str(path.resolve()), {})
        if known.items() >= stamp.items():
            return str(known["sha256"])
        digest = sha256_of(path)
        self._known[str(path.resolve())] = stamp | {"sha256": digest}
        return digest

    def save(self) -> None:
        """Writes what is known to the file, if there is one."""
        if self._path is not None:
            write_json(self._path, self._known)


def _kept_hashes(path: Path) -> dict[str, dict[str, Any]]:
    try:
        kept = read_json(path)
    except ConfigError:
        return {}
    sound = isinstance(kept, dict) and all(
        isinstance(known, dict) and "sha256" in known for known in kept.values()
    )
    return kept if sound else {}


def _missing_parents(path: Path) -> list[Path]:
    """Returns the folders to be made for `path`, the innermost first."""
    return [folder for folder in path.parents if not folder.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Removes the folders that a failure left empty; what holds a result stays."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _token() -> str:
    """Returns what keeps temporary names apart, also those of two machines on a shared disk."""
    return secrets.token_hex(4)
