"""What the run that left a work folder was to make, and how far it came with its files."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_tf.errors import ConfigError
from landcover_tf.system.files import beside, read_json, write_json
from serving.targets import RECORD, work_folder

NOTE = "intended.json"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """The map that a run began to make."""

    record: Mapping[str, Any]
    """The settings that are to stand beside it."""
    overwrite: bool
    """Whether the run was told to replace what is there."""
    began: float
    """When it was first noted, in seconds since the epoch by the clock of the disk."""


def intend(
    map_path: Path, record: Mapping[str, Any], *, overwrite: bool, began: float | None = None
) -> None:
    """Notes in the work folder of a map what is made.

    Args:
        map_path: The map.
        record: The settings that are to stand beside it.
        overwrite: Whether the run is told to replace what is there.
        began: When the run was noted that this one continues and that was told so, None if there
            is none. The settings may have changed since, as by less memory.

    Raises:
        OutputError: The disk refuses.
    """
    left = intent_of(map_path)
    if left is None or left.record != record or (overwrite and began is None):
        note = {"record": record, "overwrite": overwrite or began is not None, "began": began}
        write_json(work_folder(map_path) / NOTE, note)


def intent_of(map_path: Path) -> Intent | None:
    """Returns what the run that left the work folder was to make; None if nothing tells."""
    note = work_folder(map_path) / NOTE
    try:
        found, written = read_json(note), note.stat().st_mtime
        record, overwrite = found["record"], found["overwrite"]
        return Intent(record=record, overwrite=overwrite, began=found.get("began") or written)
    except (ConfigError, KeyError, OSError, TypeError):
        return None


def is_half_published(map_path: Path) -> bool:
    """Returns whether a run was killed while it moved its files.

    The record, the first, is in its place, and the map, the last, is not.
    """
    staged = work_folder(map_path) / "files" / map_path.name
    return staged.exists() and not beside(staged, RECORD).exists()


def is_published(map_path: Path) -> bool:
    """Returns whether a run was killed when it had moved all its files."""
    files = work_folder(map_path) / "files"
    return files.is_dir() and not any(files.iterdir())


def empty(map_path: Path) -> None:
    """Deletes all that a killed run left in the work folder but its note."""
    for entry in work_folder(map_path).glob("*"):
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != NOTE:
            entry.unlink()


def discard(map_path: Path) -> None:
    """Deletes the work folder of a map that is in its place, as far as the disk lets it."""
    # The note goes first: what is left of a deletion that is killed is no unfinished map.
    with suppress(OSError):
        (work_folder(map_path) / NOTE).unlink()
    shutil.rmtree(work_folder(map_path), ignore_errors=True)
