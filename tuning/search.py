"""The search: KerasTuner proposes settings, a process of its own trains each, best.json wins.

KerasTuner keeps its state in `oracle/`, ours is in `search.json` and `trials/`; both survive a
kill at any moment, and the same command goes on.
"""

import contextlib
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from landcover_tf.configs.settings_changes import changes
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, OutputError, RunError
from landcover_tf.system import locks
from landcover_tf.system.files import read_json, write_json
from landcover_tf.system.quiet import start_keras
from landcover_tf.training.preflight import check_batch
from tuning import distributed
from tuning.space import SearchSpace, train_config
from tuning.trials import (
    Objective,
    TrialRecord,
    TunerKind,
    new_folder,
    read_records,
    run_trial,
)

SEARCH_NAME = "search.json"
BEST_NAME = "best.json"
EPOCHS_KEY = "tuner/epochs"
"""Hyperband's own value: for how many epochs a trial is trained."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how."""

    space: SearchSpace
    base: Mapping[str, Any]
    """Fields of the training config for every trial, below the space's own."""
    data_dir: Path
    data_hash: str
    normalizer: Mapping[str, Any]
    """The dataset's, which its hash does not cover."""
    info: DatasetInfo | None = None
    """Of the dataset whose patches the trials need; None allows batches of any size."""
    output_dir: Path
    tuner: TunerKind
    objective: Objective
    max_trials: int
    """Trials of the random and Bayesian search."""
    max_failures: int
    """Failed trials in a row after which something is wrong with all of them."""
    seed: int

    @property
    def trials(self) -> Path:
        """Folder of the trials."""
        return self.output_dir / "trials"

    def settings_of(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings of a trial that are not those of every trial.

        Args:
            chosen: What KerasTuner chose.
        """
        settings = self.space.settings(chosen)
        if EPOCHS_KEY in chosen:
            settings["epochs"] = int(chosen[EPOCHS_KEY])
        return settings

    def config_of(self, chosen: Mapping[str, Any], run_dir: Path) -> Any:
        """Returns the training config of a trial.

        Args:
            chosen: What KerasTuner chose.
            run_dir: Run folder of the trial.

        Raises:
            ConfigError: The combination is refused.
        """
        settings = {**self.base, **self.settings_of(chosen), "monitor": self.objective}
        return train_config(settings, self.data_dir, run_dir)

    def allows(self, chosen: Mapping[str, Any]) -> bool:
        """Returns whether the training, and the dataset's size, allow what KerasTuner chose."""
        try:
            config = self.config_of(chosen, self.trials)
            if self.info is not None:
                check_batch(config, self.info)
        except ConfigError:
            return False
        return True

    def identity(self) -> dict[str, Any]:
        """Returns what a continued search must have in common with the interrupted one."""
        # Trials with a normalizer of their own do not see the dataset's.
        own = self._own_normalizer()
        return {
            "space": dict(self.space.source),
            "space_hash": self.space.hash,
            "data_hash": self.data_hash,
            **({} if own else {"normalizer": dict(self.normalizer)}),
            "base": dict(self.base),
            "tuner": self.tuner,
            "objective": self.objective,
            "seed": self.seed,
        }

    def _own_normalizer(self) -> bool:
        if "normalizer" in self.space.search:
            return None not in self.space.search["normalizer"].choices
        return {**self.base, **self.space.fixed}.get("normalizer") is not None


def open_search(search: Search) -> bool:
    """Claims the output folder; returns whether a search is continued.

    Raises:
        OutputError: The folder holds something else.
        ConfigError: It holds a search with another space, data or method.
    """
    path = search.output_dir / SEARCH_NAME
    if not path.is_file():
        try:
            new_folder(search.output_dir, "search")
        except OutputError:
            # Another process of this search, started at the same moment, may be writing it.
            if not _appears(path):
                raise
        else:
            write_json(path, search.identity())
            return False
    before, now = read_json(path), search.identity()
    # A training setting that is no longer given has another value, too.
    now["base"] = dict.fromkeys(before.get("base", ())) | now["base"]
    digests = {
        "space_hash": "search space",
        "data_hash": "dataset",
        "normalizer": "the dataset's normalizer",
    }
    names = digests | {"base": "training setting"}
    before, now = ({names.get(k, k): v for k, v in values.items()} for values in (before, now))
    changed = changes(before, now, free=("space",), unshown=tuple(digests.values()))
    if changed:
        # A shipped space may have changed since.
        own = f', or save its own space, "space" in {path}, as a file for --space'
        raise ConfigError(
            f"{search.output_dir} holds a search with other settings ({', '.join(changed)}): its "
            "trials cannot be compared with new ones; choose another --output-dir"
            f"{own if 'search space' in changed else ''}"
        )
    return True


def _appears(path: Path) -> bool:
    end = time.monotonic() + 2
    while not path.is_file():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def alone(search: Search) -> Iterator[None]:
    """Holds the search for this process, so that no second one writes into its state.

    Raises:
        OutputError: Another process holds it.
    """
    busy = (
        f"another process runs the search in {search.output_dir}; wait for its end, or end it first"
    )
    with locks.alone(search.output_dir / "lock", busy):
        yield


def run_search(search: Search, *, echo: bool = False) -> None:
    """Runs trials until the search is complete; as KerasTuner's chief, serves the workers.

    Args:
        search: What to search.
        echo: Show each training's own output.

    Raises:
        RunError: Too many trials failed in a row, of all workers', or the chief cannot listen or
            does not answer.
        StopRequestedError: A training was asked to stop; the same search goes on from there.
    """
    start_keras()
    import grpc
    import keras_tuner
    from keras_tuner.src import config as keras_tuner_config

    from tuning.plan import tell_end, tell_plan

    # KerasTuner 1.4.8 would print a traceback for each failed trial.
    keras_tuner_config.DEBUG = False
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It would tell what it reloads.
            tuner = _tuner(search, echo)
    except (ValueError, RuntimeError) as error:
        raise RunError(
            f"cannot read the state of the search in {search.output_dir / 'oracle'}: {error}"
        ) from error
    if not Path(tuner._get_tuner_fname()).exists():
        tuner.save()  # KerasTuner first does so after a whole trial.
    if distributed.is_worker():
        where = distributed.chief_address()
        print(f"asking the chief at {where} for trials, waiting until it answers", flush=True)
    elif search.tuner == "hyperband":
        tell_plan(tuner.oracle, search.space)
    try:
        tuner.search()
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ or error from None
    except (RuntimeError, grpc.RpcError) as error:
        # A worker gets the chief's error as one of gRPC.
        if "consecutive failures" not in str(error):
            told = distributed.explained(error)
            if told is None:
                raise
            raise told from error
        raise _gave_up(search) from error
    if not distributed.is_worker():
        tell_end(tuner.oracle)


def _gave_up(search: Search) -> RunError:
    reasons = [r.error for r in read_records(search.trials) if r.score is None]
    last = f", the last with: {reasons[-1]}" if reasons else ""
    return RunError(
        f"{search.max_failures} trials failed in a row{last}; see {search.trials}, and give a "
        "larger --max-failures to go on all the same"
    )


def write_best(search: Search, record: TrialRecord) -> Path:
    """Writes the settings of a trial as a `--config` file of landcover train."""
    values = read_json(search.trials / record.id / "config.json")
    # The dataset may have moved since that trial.
    values["data_dir"] = str(search.data_dir)
    values["output_dir"] = str(search.output_dir / "best")
    path = search.output_dir / BEST_NAME
    write_json(path, values)
    return path


def _tuner(search: Search, echo: bool) -> Any:
    from tuning.oracles import oracle_of
    from tuning.process_tuner import ProcessTuner

    oracle = oracle_of(
        search.tuner,
        objective=search.objective,
        hyperparameters=search.space.hyperparameters(),
        allows=search.allows,
        max_trials=search.max_trials,
        max_epochs=int(search.base["epochs"]),
        max_failures=search.max_failures,
        seed=search.seed,
    )
    return ProcessTuner(
        oracle,
        search.output_dir / "oracle",
        objective=search.objective,
        train=partial(_run, search, echo),
        error=partial(_gave_up, search),
    )


def _run(search: Search, echo: bool, trial_id: str, chosen: Mapping[str, Any]) -> TrialRecord:
    folder = search.trials / trial_id
    settings = search.settings_of(chosen)
    varied = [name for name in settings if name in search.space.search or name == "epochs"]
    shown = ", ".join(f"{name} {_short(settings[name])}" for name in varied)
    print(f"trial {trial_id}: {shown}", flush=True)
    try:
        config = search.config_of(chosen, folder / "run")
    except ConfigError as error:
        # Begun by a version that handed out combinations which the training refuses.
        record = TrialRecord(id=trial_id, settings=settings, status="failed", error=str(error))
        folder.mkdir(parents=True, exist_ok=True)
        record.save(folder)
        return record
    return run_trial(config, folder, settings=settings, objective=search.objective, echo=echo)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
