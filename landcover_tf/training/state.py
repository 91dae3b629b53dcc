"""The resumable state of a training run: one file, replaced as a whole.

A file that holds tensors and position together cannot be half new: whatever kills the process,
the state on disk is that of one step.
"""

import json
import math
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from landcover_tf.errors import OutputError, RunError
from landcover_tf.run_folder import Row
from landcover_tf.system.files import atomic_path, is_partial

VERSION = 1
_BEST = "landcover_best"


@dataclass(kw_only=True)
class Progress:
    """Where the training is and what it has seen so far."""

    epoch: int = 0
    """Epoch of the next step, from 0."""
    step: int = 0
    """Optimizer steps done in that epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of those steps."""
    train_seconds: float = 0.0
    """Seconds spent on those steps."""
    waiting_seconds: float = 0.0
    """Those of them in which the next batch was not ready."""
    best: float | None = None
    """Best monitored score (higher is better)."""
    best_epoch: int | None = None
    waited: int = 0
    """Epochs since the best."""
    stopped: bool = False
    """Early stopping has ended the training."""
    plateau: dict[str, Any] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    """One row per finished epoch."""

    def improve(self, score: float, epoch: int) -> bool:
        """Takes an epoch's score into account and returns whether it is the best so far.

        A score that is not a number is never the best. The best epoch itself, trained again
        because its state was lost, is the best again if it is as good.
        """
        again = epoch == self.best_epoch and score == self.best
        if not math.isnan(score) and (self.best is None or score > self.best or again):
            self.best, self.best_epoch, self.waited = score, epoch, 0
            return True
        # Not counted up: the state may be older than the best, which then is this very epoch.
        self.waited = epoch - (self.best_epoch or 0)
        return False


@dataclass(frozen=True, kw_only=True)
class Best:
    """What the kept weights scored on the validation split."""

    score: float
    """Monitored score (higher is better)."""
    epoch: int
    """From 1."""
    row: Row
    """The epoch's row of the history."""


def monitored(row: Row, name: str) -> float:
    """Returns an epoch's monitored score (higher is better): the negative of a loss.

    Args:
        row: The epoch's row of the history.
        name: What is monitored, as in the history without `val_`.

    Returns:
        NaN where the epoch has no such score.
    """
    value = row.get(f"val_{name}")
    if value is None:
        return math.nan
    return -value if name == "loss" else value


def save_state(path: Path, arrays: dict[str, np.ndarray], progress: Progress) -> None:
    """Writes the state atomically, on the disk itself before the old one goes.

    Raises:
        OutputError: The disk refuses, for example because it is full.
    """
    metadata = {"version": str(VERSION), "progress": json.dumps(asdict(progress))}
    # The format stores raw memory, which must be in order.
    ordered = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(ordered, temporary, metadata=metadata)
        except SafetensorError as error:  # It wraps what the disk says.
            raise OutputError(f"cannot write {path}: {error}") from error
        # safetensors closes its file to all other users, whatever they may read of the run.
        temporary.chmod(stat.S_IMODE(mode))
        _write_through(temporary)


def load_state(path: Path) -> tuple[dict[str, np.ndarray], Progress]:
    """Returns what `save_state` wrote.

    Raises:
        RunError: The file cannot be read, is damaged or of another version.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise RunError(f"cannot read the training state {path}: {error.strerror}") from error
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("version") != str(VERSION):
            raise RunError(f"{path} has version {metadata.get('version')}, expected {VERSION}")
        return arrays, Progress(**json.loads(metadata["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is not a training state ({error}); remove the run folder and train again"
        ) from error


def save_best(path: Path, model: Any, best: Best) -> None:
    """Writes the weights with what they scored inside, so that both are always of one epoch.

    They are on the disk itself before the old ones go, and before the state tells of them.
    """
    with atomic_path(path) as temporary:
        # Keras insists on the double suffix.
        named = temporary.with_name(temporary.name.removesuffix(".h5") + ".weights.h5")
        try:
            model.save_weights(named)
            with h5py.File(named, "r+") as file:
                file.attrs[_BEST] = json.dumps(asdict(best))
            _write_through(named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def remove_partial(state: Path, best: Path) -> None:
    """Removes what kills during a save left beside these files, whatever was to be saved there.

    Only for the process that holds the run's lock: it takes away what another one is writing.
    """
    # safetensors writes a file of such a name beside the one that it is given.
    own = ".tmp" + 6 * "[0-9A-Za-z]"
    folders = {state.parent, best.parent}
    found = [path for folder in folders for path in folder.glob(".*") if is_partial(path)]
    for path in (*found, *state.parent.glob(own)):
        # What is left costs space only.
        with suppress(OSError):
            if path.is_file():
                path.unlink()


def is_readable(path: Path) -> bool:
    """Returns whether there is a file of weights that opens; a cut one does not."""
    try:
        with h5py.File(path, "r"):
            return True
    except OSError:
        return False


def best_on_disk(path: Path) -> Best | None:
    """Returns what the weights in a file scored, None without file or score."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            return Best(**json.loads(file.attrs[_BEST]))
    except (OSError, KeyError, TypeError, ValueError):
        return None


def best_row(path: Path, progress: Progress) -> Row | None:
    """Returns the scores of the best epoch, None when there was none.

    They are those of the weights in the file: after a crash the best epoch may not be in the
    history yet, or may be there as it was trained again, with other rounding.

    Args:
        path: File that `save_best` wrote.
        progress: Where the training is.
    """
    if progress.best_epoch is None:
        return None
    best = best_on_disk(path)
    if best is not None:
        return best.row
    return next((row for row in progress.history if row["epoch"] == progress.best_epoch), None)


def _write_through(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
