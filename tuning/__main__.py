"""Entry of `landcover tune`: a search over training settings."""

import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.configs.config_files import write_config
from landcover_tf.errors import ConfigError, RunError
from landcover_tf.system.files import read_json
from landcover_tf.training.preflight import check_batch, check_dataset
from tuning.trials import Objective, TrialRecord, TunerKind

if TYPE_CHECKING:
    from landcover_tf.datasets.dataset_info import DatasetInfo
    from landcover_tf.training.config import TrainConfig
    from tuning.search import Search
    from tuning.space import SearchSpace


DEFAULTS = {"epochs": 10, "early_stopping": 0, "seed": 0}
"""Settings of a trial where neither a flag nor --train-config names them."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Searches training settings with KerasTuner. Every trial is a run of landcover train in a
    process and a folder of its own, so a crash ends one trial. The same command continues an
    interrupted search. best.json is a --config file for landcover train."""

    data_dir: Path
    """Dataset: the output folder of `landcover build`."""
    output_dir: Path
    """Folder of the search, new or to be continued."""
    space: str = "quick"
    """quick, standard, wide, or a JSON file that says which settings to vary."""
    train_config: Path | None = None
    """JSON file with settings of every trial, such as model and patch size; flags given here and
    the space win, and no setting is named by both of these."""
    epochs: int | None = None
    """Epochs of a trial; Hyperband's largest number. By default as in --train-config, else 10."""
    early_stopping: int | None = None
    """End a trial after this many epochs without improvement; 0 never does. By default as in
    --train-config, else 0."""
    tuner: TunerKind = "bayesian"
    """Who proposes settings. bayesian draws the first trials at random, a third of them and at most
    two per setting of the space. Hyperband gives many trials few epochs and the best ones more."""
    objective: Objective = "mean_f1"
    """Validation score to raise."""
    max_trials: int = 20
    """Trials of the random and Bayesian search; those of Hyperband follow from --epochs."""
    max_failures: int = 3
    """Give up after this many failed trials in a row."""
    workers: int = 1
    """Trials at a time on this machine."""
    retrain_best: int = 0
    """Train the best so many settings again, each with --retrain-epochs and another seed. Of trials
    that differ in their epochs alone, the best one counts."""
    retrain_epochs: int = 50
    """Epochs of a retrained run."""
    echo: bool = False
    """Show the output of every training."""
    seed: int | None = None
    """Decides what is proposed, and the training's own seed. By default as in --train-config,
    else 0."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(
            self, 1, "epochs", "max_trials", "max_failures", "workers", "retrain_epochs"
        )
        flag_ranges.at_least(self, 0, "retrain_best", "early_stopping")


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code: 143 or 130 when a training was asked to stop."""
    return cli.run(TuneConfig, _program, argv, prog="landcover tune")


def _program(config: TuneConfig) -> int:
    from tuning.distributed import is_worker, require_whole_environment
    from tuning.search import open_search
    from tuning.trials import StopRequestedError, read_records

    require_whole_environment()
    search = make_search(config)
    if open_search(search):
        print(f"continuing the search in {config.output_dir}", flush=True)
    try:
        _search(search, config)
        return 0 if is_worker() else _finish(search, config)
    except StopRequestedError as stop:
        print(f"trial {stop} was asked to stop; the same command continues the search")
        return stop.exit_code
    except RunError:
        # What was found before too many trials failed is of use all the same.
        if not is_worker() and any(r.score is not None for r in read_records(search.trials)):
            _report(search, config)
        raise


def _search(search: "Search", config: TuneConfig) -> None:
    from tuning.distributed import is_distributed, is_worker
    from tuning.search import alone, run_search
    from tuning.workers import run_workers

    written = config.output_dir / "config.json"
    if config.workers > 1:
        with alone(search):  # Which the chief is, too, when it runs.
            write_config(config, written)
        flags = ["--config", str(written), "--workers", "1", "--retrain-best", "0"]
        run_workers(flags, config.workers)
    elif is_worker():
        run_search(search, echo=config.echo)
    else:
        with alone(search):
            if not (is_distributed() and written.is_file()):
                write_config(config, written)  # Of the whole search, not of one of its processes.
            run_search(search, echo=config.echo)


def make_search(config: TuneConfig) -> "Search":
    """Returns the search of a config, after checking space, dataset and base settings.

    Raises:
        LandCoverError: One of them is unfit.
    """
    from tuning.search import Search
    from tuning.space import load_space

    space = load_space(config.space)
    _check_not_twice(config, space)
    base = _base_settings(config)
    trial = space.check(config.data_dir, base)
    info = check_dataset(config.data_dir)
    _check_sizes(space, trial, info)
    return Search(
        space=space,
        base=base,
        data_dir=config.data_dir.resolve(),
        data_hash=info.data_hash,
        normalizer=info.normalizer.to_dict(),
        info=info,
        output_dir=config.output_dir,
        tuner=config.tuner,
        objective=config.objective,
        max_trials=config.max_trials,
        max_failures=config.max_failures,
        seed=int(base["seed"]),
    )


def _check_not_twice(config: TuneConfig, space: "SearchSpace") -> None:
    named = {*space.fixed, *space.search}
    if config.tuner == "hyperband" and "epochs" in named:
        raise ConfigError(
            f"Hyperband chooses the epochs of each trial, up to --epochs, and the search space "
            f"{config.space} sets them, too; take epochs out of the space"
        )
    for name in DEFAULTS:
        if name in named and getattr(config, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} {getattr(config, name)} is given, and the search "
                f"space {config.space} sets {name}, too; leave one of them out"
            )


def _check_sizes(space: "SearchSpace", trial: "TrainConfig", info: "DatasetInfo") -> None:
    """Checks that the dataset has the patches of some trial; the search leaves out the others."""
    names = space.search.keys() & {"patch_size", "patch_overlap", "batch_size"}
    reason = None
    for values in product(*(space.search[name].extremes() for name in names)):
        try:
            check_batch(replace(trial, **dict(zip(names, values, strict=True))), info)
            return
        except ConfigError as error:
            reason = error
    raise ConfigError(
        f"{reason} (a search takes such settings from its space or from --train-config: the "
        'config.json of a run, or a JSON file of your own such as {"patch_size": 128, '
        '"batch_size": 4})'
    ) from reason


def _base_settings(config: TuneConfig) -> dict[str, Any]:
    from tuning.space import OWN_FIELDS, check_field

    base: dict[str, Any] = {}
    if config.train_config is not None:
        base = read_json(config.train_config)
        if not isinstance(base, dict):
            raise ConfigError(f"--train-config {config.train_config} must hold a JSON object")
        # A run's own config.json names its folders; those of the trials are others.
        base = {name: value for name, value in base.items() if name not in OWN_FIELDS}
        for name in base:
            check_field(name, config.train_config)
    own = {name: getattr(config, name) for name in DEFAULTS}
    return DEFAULTS | base | {name: value for name, value in own.items() if value is not None}


def _finish(search: "Search", config: TuneConfig) -> int:
    from tuning.ranking import distinct

    best = _report(search, config)
    if not best:
        print(f"no trial succeeded; see {search.trials}")
        return 1
    return _retrain(search, config, distinct(best)[: config.retrain_best])


def _report(search: "Search", config: TuneConfig) -> list[TrialRecord]:
    """Writes the ranking and best.json; returns the completed trials, the best first."""
    from tuning import ranking
    from tuning.search import write_best
    from tuning.trials import read_records

    records = read_records(search.trials)
    ranking.write_table(search.output_dir / ranking.CSV_NAME, records)
    page = search.output_dir / ranking.PAGE_NAME
    title = f"Search {search.space.name} on {config.data_dir.name}"
    ranking.write_page(page, records, title=title, objective=config.objective)
    print(f"\n{ranking.table(records, config.objective)}\n")
    best = [r for r in ranking.ranked(records) if r.score is not None]
    print(f"table and pictures: {page}")
    if best:
        path = write_best(search, best[0])
        print(f"best: landcover train --config {path}")
    return best


def _retrain(search: "Search", config: TuneConfig, best: list[TrialRecord]) -> int:
    """Trains the best settings for longer, so that more than luck decides between them."""
    from tuning import ranking
    from tuning.trials import check_run, run_trial

    folder = search.output_dir / "retrained"
    runs = [_again(search, config, record, folder / record.id / "run") for record in best]
    for run in runs:
        check_run(
            run,
            f"retrain with the settings of then, or move the folder {run.output_dir.parent} away",
        )
    records = []
    for record, run in zip(best, runs, strict=True):
        print(f"\ntraining the settings of trial {record.id} again", flush=True)
        records.append(
            run_trial(run, folder / record.id, settings=record.settings,
                      objective=config.objective, echo=True, hashes=search.trials)
        )  # fmt: skip
    if records:
        ranking.write_table(folder / ranking.CSV_NAME, records)
        print(f"\n{ranking.table(records, config.objective)}")
    return int(any(record.score is None for record in records))


def _again(search: "Search", config: TuneConfig, record: TrialRecord, run: Path) -> "TrainConfig":
    """Returns a trial's config with the epochs of a retrained run and another seed."""
    from landcover_tf.training.config import LARGEST_SEED
    from tuning.space import OWN_FIELDS, train_config

    values = read_json(search.trials / record.id / "config.json")
    settings = {n: v for n, v in values.items() if n not in OWN_FIELDS}
    settings |= {
        "epochs": config.retrain_epochs,
        "seed": (int(settings["seed"]) + 1) % (LARGEST_SEED + 1),
        "monitor": config.objective,
    }
    return train_config(settings, search.data_dir, run)


if __name__ == "__main__":
    sys.exit(main())
