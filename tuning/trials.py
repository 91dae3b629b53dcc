"""One training run of a search or of a list of experiments, in a process of its own.

A crash, or the kernel's out-of-memory killer, ends one run and not what started it. Nothing but
files passes between the two: the run's config goes in, its history and summary come out.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from landcover_tf.configs import config_files
from landcover_tf.errors import LandCoverError, OutputError, RunError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system import locks
from landcover_tf.system.files import atomic_path, read_json, write_json
from landcover_tf.system.signals import INTERRUPTED, STOPPED
from landcover_tf.training.config import TrainConfig
from tuning.stopping import Start, run_training

TunerKind = Literal["random", "bayesian", "hyperband"]
Objective = Literal["mean_f1", "mean_iou", "overall_accuracy"]
"""What a training may monitor."""

RECORD_NAME = "trial.json"
UNKEPT_NAME = "attempt.json"
"""Record of an attempt that is none of the run: it was stopped, or failed after a completed one."""
LOG_NAME = "train.log"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What became of one run."""

    id: str
    settings: Mapping[str, Any]
    """The fields of the training config that differ between the runs."""
    status: Literal["completed", "failed"]
    score: float | None = None
    """Best validation score of the objective; None when the run failed."""
    best_epoch: int | None = None
    epochs: int | None = None
    seconds: float = 0.0
    """Wall time of the training processes of all attempts that came to an end."""
    error: str = ""
    """The last line that a failed run printed."""

    def save(self, folder: Path, name: str = RECORD_NAME) -> None:
        """Writes the record into the run's folder."""
        write_json(folder / name, asdict(self))

    @classmethod
    def load(cls, folder: Path, name: str = RECORD_NAME) -> "TrialRecord":
        """Returns the record in a run's folder.

        Raises:
            RunError: It is malformed.
        """
        path = folder / name
        try:
            return cls(**read_json(path))
        except TypeError as error:
            raise RunError(f"{path} is not the record of a run: {error}") from error


class StopRequestedError(Exception):
    """The training was asked to stop and has saved its state.

    Args:
        name: Name of the run.
        exit_code: Exit code of the program that ends because of it.
    """

    def __init__(self, name: str, exit_code: int = STOPPED) -> None:
        super().__init__(name)
        self.exit_code = exit_code


def new_folder(folder: Path, what: str) -> None:
    """Makes a folder, which must be empty if it is there.

    Args:
        folder: What to make.
        what: What it will hold, for the message.

    Raises:
        OutputError: It holds something else, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error}") from error
    if not empty:
        raise OutputError(f"{folder} is not empty and holds no {what}; choose another --output-dir")


def read_records(folder: Path) -> list[TrialRecord]:
    """Returns the records of all ended runs below a folder, in the order of their names.

    Numbers go by value: KerasTuner pads them to the width of --max-trials, which may grow.
    """
    folders = [path.parent for path in folder.glob(f"*/{RECORD_NAME}")]
    return [TrialRecord.load(one) for one in sorted(folders, key=_place)]


def _place(folder: Path) -> tuple[int, str]:
    return (int(folder.name) if folder.name.isdigit() else -1, folder.name)


def check_run(config: TrainConfig, advice: str) -> None:
    """Checks that a run may begin or go on; makes nothing.

    Args:
        config: Settings of the run.
        advice: What to do about a run of other settings or data, in place of what train advises.

    Raises:
        RunError: The run folder holds a run of other settings or data.
        LandCoverError: The dataset does not fit the config, or the folder cannot be written.
    """
    from landcover_tf.training.preflight import check

    if config.output_dir.is_dir():
        try:
            check(config)
        except RunError as error:
            reason, _, _ = str(error).partition("; ")
            raise RunError(f"{reason}; {advice}") from error
        return
    # The check makes the run folder, so it gets one that nobody needs.
    with TemporaryDirectory() as folder:
        check(replace(config, output_dir=Path(folder) / "run"))


def run_trial(
    config: TrainConfig,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    objective: Objective,
    echo: bool = False,
    environment: Mapping[str, str] | None = None,
    hashes: Path | None = None,
    runner: Callable[[Start], int] = run_training,
) -> TrialRecord:
    """Trains in a process of its own, or goes on with what an earlier attempt left.

    Args:
        config: Settings of the run; its output folder is `folder / "run"`.
        folder: Gets the config, the log, the run folder and the record.
        settings: What to keep in the record.
        objective: Score to read; the config's `monitor` names the same.
        echo: Show the training's own output instead of keeping it in a log.
        environment: What to add to the environment, such as the GPUs to see.
        hashes: Folder where runs hand on the hashes of the dataset's shards; by default the one
            that `folder` lies in.
        runner: Starts the training and returns its exit code; the default is for the main thread.

    Raises:
        StopRequestedError: The training was asked to stop; call again to go on.
        RunError: The record of an earlier attempt is malformed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = TrialRecord(id=folder.name, settings=dict(settings), status="failed")
    earlier = _seconds(folder)
    config_files.write_config(config, folder / "config.json")
    run = RunFolder(config.output_dir)
    known = (hashes or folder.parent) / run.shard_hashes.name
    with _alone(folder) as lock:
        start = time.monotonic()
        # Such runs train on one dataset: the first one reads it for its hashes.
        if not run.path.exists():
            _copy(known, run.shard_hashes)
        code = runner(partial(_start, folder, lock, echo, os.environ | dict(environment or {})))
        _copy(run.shard_hashes, known)
    record = replace(record, seconds=round(earlier + time.monotonic() - start, 2))
    if code in (STOPPED, INTERRUPTED):
        replace(record, error="stopped on request").save(folder, UNKEPT_NAME)
        raise StopRequestedError(folder.name, code)
    if code == 0:
        record = _with_score(record, run, objective)
    else:
        record = replace(record, error=_last_words(folder / LOG_NAME, code))
    # What failed now does not undo what an earlier attempt completed.
    kept = record.score is not None or completed(folder) is None
    record.save(folder, RECORD_NAME if kept else UNKEPT_NAME)
    return record


def _seconds(folder: Path) -> float:
    """Returns the time of a run's earlier attempts: each one's record tells the sum up to it."""
    names = [name for name in (RECORD_NAME, UNKEPT_NAME) if (folder / name).is_file()]
    return max((TrialRecord.load(folder, name).seconds for name in names), default=0.0)


def completed(folder: Path) -> TrialRecord | None:
    """Returns the record of a run that has a score, None if there is none."""
    if not (folder / RECORD_NAME).is_file():
        return None
    record = TrialRecord.load(folder)
    return record if record.score is not None else None


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Holds the folder's lock, which the training inherits.

    When this process is killed, its training goes on and keeps the lock; the next attempt then
    waits for its end instead of writing into the same run folder.
    """
    busy = f"{folder}: a training that was left behind still runs; waiting for its end"
    with locks.alone(folder / "lock", busy, wait=True) as lock:
        yield lock


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _start(
    folder: Path, lock: int, echo: bool, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "landcover_tf.train", "--config", str(folder / "config.json")]
    if echo:
        return subprocess.Popen(command, pass_fds=(lock,), env=environment)
    with (folder / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,), env=environment
        )


def _with_score(record: TrialRecord, run: RunFolder, objective: Objective) -> TrialRecord:
    try:
        summary, scores = run.read_summary(), epoch_scores(run, objective)
    except LandCoverError as error:
        return replace(record, error=str(error))
    found = {epoch: score for epoch, score in scores.items() if score is not None}
    if not found:
        return replace(record, error=f"no epoch has a validation {objective}")
    best = max(found, key=lambda epoch: found[epoch])
    return replace(
        record,
        status="completed",
        score=found[best],
        best_epoch=best,
        epochs=int(summary["epochs"]),
    )


def epoch_scores(run: RunFolder, objective: Objective) -> dict[int, float | None]:
    """Returns the validation score of each epoch of a run, None where it has none.

    Raises:
        RunError: The history is missing or lacks the score.
    """
    column = f"val_{objective}"
    history = run.read_history()
    if any(row.get("epoch") is None or column not in row for row in history):
        raise RunError(f"{run.history} lacks the epoch or {column} in some row")
    return {int(row["epoch"] or 0): row[column] for row in history}


def _last_words(log: Path, code: int) -> str:
    """Returns the last line of a failed run's log, or how it was killed."""
    if code < 0:
        return f"killed by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    if not log.is_file():
        return f"exit code {code}"
    # A progress bar returns to the start of its line with \r.
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")
