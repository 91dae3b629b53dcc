"""Does a short search beat the default settings, and what does searching cost beside training?

    python -m benchmarks.tuning --data-dir demo/dataset --train-config demo/run/config.json

Trains the default settings once and the `quick` space in `--trials` trials, all for the same
epochs and with the same validation split. Overhead is what searching costs beside training itself,
as a share of the time in training steps and validation of all trials that completed: that of the
trials' processes (interpreter, TensorFlow, checks of the dataset, the network), and the search's
own outside of any such process.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import read_json, write_json
from landcover_tf.system.provenance import hardware, software_versions
from tuning import __main__ as tune
from tuning.space import OWN_FIELDS, train_config
from tuning.trials import read_records, run_trial


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--train-config", type=Path, required=True, help="settings of all runs")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tuner", default="bayesian")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tuning.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        values = measure(Path(folder), arguments)
    verdict = "beats" if values["best"] > values["default"] else "does not beat"
    print(f"\ndefault settings            mean F1 {values['default']:.4f}")
    print(f"best of {arguments.trials} trials            mean F1 {values['best']:.4f}")
    print(f"the search {verdict} the default settings")
    aim = "within" if values["overhead"] < 0.1 else "above"
    print(
        f"overhead {values['overhead']:.1%} of the training time, {aim} the aim of 10 %: the start "
        f"of the trials' processes {values['process_overhead']:.1%}, "
        f"{values['process_seconds_per_trial']:.1f} s each, and the search's own "
        f"{values['search_overhead']:.1%}"
    )
    write_json(
        arguments.output,
        values | {"hardware": hardware(), "software": software_versions()},
    )


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the scores and the search's overhead."""
    given = read_json(arguments.train_config)
    base = {name: value for name, value in given.items() if name not in OWN_FIELDS}
    # What the search sets for its trials as well.
    settings = base | {"epochs": arguments.epochs, "early_stopping": 0, "seed": 0,
                       "monitor": "mean_f1"}  # fmt: skip
    default = run_trial(
        train_config(settings, arguments.data_dir.resolve(), folder / "default" / "run"),
        folder / "default",
        settings={},
        objective="mean_f1",
    )
    if default.score is None:
        raise SystemExit(f"the training with the default settings failed: {default.error}")
    flags = [
        "--data-dir", arguments.data_dir, "--output-dir", folder / "search", "--space", "quick",
        "--train-config", arguments.train_config, "--epochs", arguments.epochs,
        "--max-trials", arguments.trials, "--tuner", arguments.tuner,
    ]  # fmt: skip
    start = time.monotonic()
    if tune.main([str(flag) for flag in flags]):
        raise SystemExit("the search failed")
    seconds = time.monotonic() - start
    records = read_records(folder / "search" / "trials")
    processes = sum(record.seconds for record in records)
    trained = sum(
        RunFolder(folder / "search" / "trials" / record.id / "run").read_summary()[
            "session_seconds"
        ]
        for record in records
        if record.score is not None
    )
    scores = {record.id: record.score for record in records}
    return {
        "data_dir": arguments.data_dir.name,
        "base": base,
        "epochs": arguments.epochs,
        "tuner": arguments.tuner,
        "default": default.score,
        "scores": scores,
        "best": max(score for score in scores.values() if score is not None),
        "search_seconds": seconds,
        "process_seconds": processes,
        "training_seconds": trained,
        "overhead": seconds / trained - 1,
        "process_overhead": (processes - trained) / trained,
        "process_seconds_per_trial": (processes - trained) / len(records),
        "search_overhead": (seconds - processes) / trained,
    }


if __name__ == "__main__":
    main()
