"""Entry of `landcover experiments`: a list of named training configurations, compared."""

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, RunError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import read_json, write_json
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import dataset_changes
from tuning import ranking
from tuning.devices import environments
from tuning.space import OWN_FIELDS, check_field, train_config
from tuning.stopping import Trainings
from tuning.trials import (
    Objective,
    StopRequestedError,
    TrialRecord,
    check_run,
    completed,
    epoch_scores,
    new_folder,
    read_records,
    run_trial,
)

LIST_NAME = "experiments.json"


@dataclass(frozen=True, kw_only=True)
class ExperimentsConfig:
    """Trains every configuration of a list, each in a process and a folder of its own, and
    compares them in one table and one picture. Finished experiments are skipped, so the same
    command continues an interrupted list, and a failed one is tried again. One whose settings
    were changed after it began is left out and named at the end."""

    experiments: Path
    """JSON file: {"common": {field: value}, "experiments": [{"name": …, field: value}, …]}."""
    data_dir: Path
    """Dataset: the output folder of `landcover build`."""
    output_dir: Path
    """Folder of the experiments, new or to be continued."""
    only: tuple[str, ...] = ()
    """Names of the experiments to run; all by default."""
    objective: Objective = "mean_iou"
    """Validation score to compare by."""
    jobs: int = 1
    """Trainings at a time."""
    echo: bool = False
    """Show the output of every training."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(self, 1, "jobs")


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code: 1 when an experiment failed, 2 when one was left
    out, 143 or 130 when a signal ended it, after the trainings have saved their state."""
    return cli.run(ExperimentsConfig, _program, argv, prog="landcover experiments")


def read_experiments(path: Path) -> dict[str, dict[str, Any]]:
    """Returns the settings of each experiment by name, the common ones included.

    Raises:
        ConfigError: The file is malformed, a name is missing or used twice, or a field is
            unknown.
    """
    values = read_json(path)
    listed = values.get("experiments") if isinstance(values, dict) else None
    common = values.get("common", {}) if isinstance(values, dict) else None
    if not isinstance(listed, list) or not isinstance(common, dict) or not listed:
        raise ConfigError(f"{path} must be an object with a list 'experiments'")
    found: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(listed, start=1):
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
            raise ConfigError(f"{path}: experiment {number} needs a name that can be a folder")
        if name in found:
            raise ConfigError(f"{path}: two experiments are named {name!r}")
        settings = {k: v for k, v in one.items() if k not in ("name", "description")}
        for field in (*common, *settings):
            check_field(field, path)
        found[name] = common | settings
    return found


def _program(config: ExperimentsConfig) -> int:
    experiments = _chosen(read_experiments(config.experiments), config)
    configs = {}
    # Mistakes of any experiment are told before the first one takes its hours.
    for name, settings in experiments.items():
        with _named(name, config):
            configs[name] = train_config(
                settings | {"monitor": config.objective},
                config.data_dir.resolve(),
                config.output_dir / name / "run",
            )
    refused = _of_other_settings(config, configs)
    for name in refused:
        print(f"{name}: left out, its folder holds a run of other settings or data", flush=True)
    _claim(config)
    try:
        chosen = {name: one for name, one in configs.items() if name not in refused}
        records = _run_all(config, experiments, chosen)
    except StopRequestedError as stop:
        print(f"experiment {stop} was asked to stop; the same command continues")
        return stop.exit_code
    _compare(config)
    failed = [record for record in records if record.score is None]
    for record in failed:
        print(f"{record.id} failed: {record.error}", file=sys.stderr)
    for name, reason in refused.items():
        print(f"{name} left out: {reason}", file=sys.stderr)
    return 2 if refused else int(bool(failed))


@contextmanager
def _named(name: str, config: ExperimentsConfig) -> Iterator[None]:
    """Tells whose settings are refused: the list has many."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{config.experiments}, experiment {name!r}: {error}") from error


def _of_other_settings(
    config: ExperimentsConfig, configs: Mapping[str, TrainConfig]
) -> dict[str, str]:
    """Returns why experiments cannot go on in their folders: those scores would not be theirs."""
    refused = {}
    for name, one in configs.items():
        advice = (
            "take the change back, give the experiment another name, or move the folder "
            f"{one.output_dir.parent} away to train it anew"
        )
        try:
            with _named(name, config):
                check_run(one, advice)
        except RunError as error:
            refused[name] = str(error)
    return refused


def _chosen(
    experiments: dict[str, dict[str, Any]], config: ExperimentsConfig
) -> dict[str, dict[str, Any]]:
    unknown = set(config.only) - experiments.keys()
    if unknown:
        raise ConfigError(
            f"{config.experiments} has no experiment {', '.join(sorted(unknown))}; it has "
            f"{', '.join(experiments)}"
        )
    return {n: s for n, s in experiments.items() if not config.only or n in config.only}


def _claim(config: ExperimentsConfig) -> None:
    output = config.output_dir
    marker = output / "config.json"
    if not marker.is_file():
        new_folder(output, "experiments")
    elif read_json(marker).get("objective") != config.objective:
        raise ConfigError(f"the experiments in {output} were judged by another --objective")
    _check_ranked(config)
    config_files.write_config(config, marker)
    write_json(output / LIST_NAME, read_json(config.experiments))


def _check_ranked(config: ExperimentsConfig) -> None:
    """Checks that all finished experiments, also those not chosen now, are of the same dataset."""
    now = DatasetInfo.load(config.data_dir)
    finished = [r.id for r in read_records(config.output_dir) if r.score is not None]
    others = [
        name
        for name in finished
        if dataset_changes(now, RunFolder(config.output_dir / name / "run"))
    ]
    if others:
        raise RunError(
            f"{config.output_dir} holds experiments of another dataset than {config.data_dir} "
            f"({', '.join(others)}), whose scores cannot be compared with new ones; choose another "
            "--output-dir"
        )


def _run_all(
    config: ExperimentsConfig,
    experiments: Mapping[str, Mapping[str, Any]],
    configs: Mapping[str, TrainConfig],
) -> list[TrialRecord]:
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for one in environments(config.jobs):
        free.put(one)
    trainings = Trainings()

    def run(name: str) -> TrialRecord:
        folder = config.output_dir / name
        done = completed(folder)
        if done is not None:
            print(f"{name}: finished before, {config.objective} {done.score:.4f}", flush=True)
            return done
        print(f"{name}: training", flush=True)
        settings = {k: v for k, v in experiments[name].items() if k not in OWN_FIELDS}
        with _taken(free) as environment:
            record = run_trial(
                configs[name], folder, settings=settings, objective=config.objective,
                echo=config.echo, environment=environment, runner=trainings.run,
            )  # fmt: skip
        score = "failed" if record.score is None else f"{config.objective} {record.score:.4f}"
        print(f"{name}: {score} after {record.seconds / 60:.1f} minutes", flush=True)
        return record

    # Threads only wait here: every training is a process.
    with ThreadPoolExecutor(config.jobs) as pool:
        try:
            return list(pool.map(run, configs))
        except KeyboardInterrupt as stop:
            pool.shutdown(wait=False, cancel_futures=True)
            trainings.stop(stop)
            print("the same command continues the experiments", flush=True)
            raise


@contextmanager
def _taken(free: "SimpleQueue[dict[str, str]]") -> Iterator[dict[str, str]]:
    """Takes an environment from the free ones and gives it back."""
    one = free.get()
    try:
        yield one
    finally:
        free.put(one)


def _compare(config: ExperimentsConfig) -> None:
    from landcover_tf.visuals.figures import save_figure
    from tuning.charts import comparison

    records = read_records(config.output_dir)
    ranking.write_table(config.output_dir / ranking.CSV_NAME, records)
    print(f"\n{ranking.table(records, config.objective, limit=len(records))}\n")
    done = [record for record in ranking.ranked(records) if record.score is not None]
    if done:
        histories = {
            r.id: epoch_scores(RunFolder(config.output_dir / r.id / "run"), config.objective)
            for r in done
        }
        picture = config.output_dir / "comparison.png"
        save_figure(comparison(done, histories, config.objective), picture)
        print(f"table: {config.output_dir / ranking.CSV_NAME}\npicture: {picture}")


if __name__ == "__main__":
    sys.exit(main())
