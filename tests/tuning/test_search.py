"""Searches as programs, with trainings of a few seconds."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.configs import cli, config_files
from landcover_tf.errors import ConfigError, OutputError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import write_json
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import check, write_settings
from tuning import __main__ as tune
from tuning.search import alone, open_search, write_best
from tuning.space import Range
from tuning.trials import TrialRecord, read_records

BASE = {
    "model": "resnet18", "encoder_depth": 2, "encoder_weights": "none", "patch_size": 32,
    "patch_overlap": 0, "batch_size": 16, "decoder_filters": [16, 8, 8, 8, 8], "pictures": 0,
    "augmentation": "none", "optimizer": "sgd",
}  # fmt: skip
SPACE = {"search": {"lr": {"choices": [1e-3, 2e-3]}, "dice_weight": {"choices": [0.5]}}}

# Refused by the training process within a second.
MISSING = {"search": {"augmentation": {"choices": [f"missing{i}.json" for i in range(4)]}}}


def flags(dataset, output, folder, space=SPACE, **more):
    """Returns the flags of a search with its files written into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "space.json").write_text(json.dumps(space))
    (folder / "base.json").write_text(json.dumps(BASE))
    values = {
        "data-dir": dataset, "output-dir": output, "space": folder / "space.json",
        "train-config": folder / "base.json", "epochs": 1, "max-trials": 2, "tuner": "random",
    } | more  # fmt: skip
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def search(small_dataset, tmp_path_factory):
    """Output folder of a finished search of two trials, and its flags."""
    folder = tmp_path_factory.mktemp("search")
    arguments = flags(small_dataset, folder / "out", folder)
    assert tune.main(arguments) == 0
    return folder / "out", arguments


def test_both_trials_are_ranked_by_their_own_histories(search):
    output, _ = search
    with (output / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["lr"] for row in rows) == ["0.001", "0.002"]
    for row in rows:
        with RunFolder(output / "trials" / row["trial"] / "run").history.open(newline="") as file:
            history = list(csv.DictReader(file))
        assert float(row["score"]) == float(history[0]["val_mean_f1"])
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert (output / "ranking.html").stat().st_size > 1000


def test_best_is_a_config_of_the_training(search):
    output, _ = search
    found = cli.parse(TrainConfig, ["--config", str(output / "best.json")], prog="train")
    best = max(read_records(output / "trials"), key=lambda record: record.score)
    assert found.lr == best.settings["lr"]
    assert found.monitor == "mean_f1" and found.output_dir == output / "best"


def test_a_finished_search_trains_nothing_again(search):
    output, arguments = search
    before = {p: p.stat().st_mtime_ns for p in output.glob("trials/*/trial.json")}
    assert tune.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in output.glob("trials/*/trial.json")} == before


def test_the_best_settings_are_trained_again_with_another_seed(search):
    output, arguments = search
    kept = {p: p.read_bytes() for p in (output / "ranking.csv", *output.glob("trials/*/*.json"))}
    assert tune.main([*arguments, "--retrain-best", "1", "--retrain-epochs", "1"]) == 0
    assert {path: path.read_bytes() for path in kept} == kept
    with (output / "ranking.csv").open(newline="") as file:
        best = next(csv.DictReader(file))
    (record,) = read_records(output / "retrained")
    assert (record.id, record.status, record.epochs) == (best["trial"], "completed", 1)
    assert record.settings["lr"] == float(best["lr"])
    again, short = (
        RunFolder(output / folder / record.id / "run").read_config()
        for folder in ("retrained", "trials")
    )
    # One epoch here as there.
    assert {name for name in again if again[name] != short[name]} == {"output_dir", "seed"}
    assert again["seed"] == short["seed"] + 1
    with (output / "retrained" / "ranking.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["trial"], float(row["score"])) == (record.id, record.score)
    known = (output / "trials" / "shard_hashes.json").read_bytes()
    run = RunFolder(output / "retrained" / record.id / "run")
    assert run.shard_hashes.read_bytes() == known
    assert not (output / "retrained" / "shard_hashes.json").exists()


def test_the_largest_seed_is_followed_by_the_smallest(small_dataset, tmp_path):
    seed = 2**32 - 2  # The largest that landcover train takes.
    config = cli.parse(
        tune.TuneConfig, flags(small_dataset, tmp_path / "out", tmp_path, seed=seed), prog="tuning"
    )
    search = tune.make_search(config)
    record = TrialRecord(id="0", settings={}, status="completed", score=0.5)
    trained = TrainConfig(data_dir=small_dataset, output_dir=tmp_path / "run", seed=seed)
    config_files.write_config(trained, search.trials / "0" / "config.json")
    assert tune._again(search, config, record, tmp_path / "again").seed == 0


def test_another_dataset_and_a_second_process_are_refused(small_dataset, tmp_path, capsys):
    arguments = flags(small_dataset, tmp_path / "out", tmp_path)
    opened = tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tuning"))
    assert not open_search(opened) and open_search(opened)
    with alone(opened), pytest.raises(OutputError, match="another process runs the search"):
        alone(opened).__enter__()
    with alone(opened):  # The first one has let go.
        pass
    rebuilt = replace(opened, data_hash="0" * 12)
    with pytest.raises(
        ConfigError, match=r"other settings \(dataset\): its trials cannot be compared"
    ):
        open_search(rebuilt)
    other = replace(opened, normalizer=opened.normalizer | {"shift": [0.0] * 4})
    with pytest.raises(ConfigError, match=r"other settings \(the dataset's normalizer\): its"):
        open_search(other)
    one = Range(choices=("minmax", "log"))
    for search, base in (({"normalizer": one}, {}), ({}, {"normalizer": "log"})):
        space = replace(opened.space, search=opened.space.search | search)
        own = replace(
            opened, space=space, base={**opened.base, **base}, output_dir=tmp_path / "own"
        )
        assert not open_search(own) and open_search(replace(own, normalizer=other.normalizer))
        shutil.rmtree(tmp_path / "own")
    (opened.output_dir / "search.json").write_text("{")
    assert tune.main(arguments) == 2
    assert "search.json is not valid JSON" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_search_that_runs_keeps_its_config(small_dataset, tmp_path, capsys, workers):
    first, second = (
        flags(small_dataset, tmp_path / "out", tmp_path, workers=workers, **{"max-trials": trials})
        for trials in (2, 3)
    )
    config = cli.parse(tune.TuneConfig, first, prog="tuning")
    running = tune.make_search(config)
    open_search(running)
    written = running.output_dir / "config.json"
    config_files.write_config(config, written)
    with alone(running):
        assert tune.main(second) == 2
    assert "another process runs the search" in capsys.readouterr().err
    assert json.loads(written.read_text())["max_trials"] == 2


def test_a_search_that_another_process_is_just_beginning_is_taken_part_in(
    small_dataset, tmp_path, monkeypatch
):
    arguments = flags(small_dataset, tmp_path / "out", tmp_path)
    search = tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tuning"))
    half = search.output_dir / ".search.0a1b.part.json"
    write_json(half, search.identity())
    begun = search.output_dir / "search.json"
    # A second passes at each look.
    clock = SimpleNamespace(monotonic=count().__next__, sleep=lambda _: half.rename(begun))
    monkeypatch.setattr("tuning.search.time", clock)
    assert open_search(search)
    begun.rename(half)
    clock.sleep = lambda _: None
    with pytest.raises(OutputError, match="is not empty and holds no search"):
        open_search(search)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"search": {"lr": {"choices": [1e-3]}}}}, "other settings (search space)"),
        ({"epochs": 2}, "(training setting epochs (was 1, now 2))"),
        ({"objective": "mean_iou"}, "objective (was mean_f1, now mean_iou)"),
    ],
)
def test_a_search_of_something_else_is_refused(
    search, small_dataset, tmp_path, capsys, change, message
):
    output, _ = search
    assert tune.main(flags(small_dataset, output, tmp_path, **change)) == 2
    assert message in capsys.readouterr().err


def test_a_search_whose_space_has_changed_goes_on_with_its_own(small_dataset, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = flags(small_dataset, output, tmp_path)
    assert not open_search(tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tuning")))
    changed = {"search": {"lr": {"choices": [1e-3]}}}
    assert tune.main(flags(small_dataset, output, tmp_path, space=changed)) == 2
    advice = f'save its own space, "space" in {output / "search.json"}, as a file for --space'
    assert advice in capsys.readouterr().err
    own = json.loads((output / "search.json").read_text())["space"]
    arguments = flags(small_dataset, output, tmp_path, space=own)
    assert open_search(tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tuning")))


def test_the_settings_file_wins_over_defaults_and_flags_over_the_file(small_dataset, tmp_path):
    (tmp_path / "base.json").write_text(json.dumps(BASE | {"epochs": 3, "seed": 5}))
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    files = ["--space", str(tmp_path / "space.json"), "--train-config", str(tmp_path / "base.json")]
    folders = ["--data-dir", str(small_dataset), "--output-dir", str(tmp_path / "out")]

    def found(*more):
        config = cli.parse(tune.TuneConfig, [*folders, *files, *more], prog="tuning")
        search = tune.make_search(config)
        return *(search.base[name] for name in ("epochs", "early_stopping", "seed")), search.seed

    assert found() == (3, 0, 5, 5)
    assert found("--epochs", "7", "--early-stopping", "2", "--seed", "0") == (7, 2, 0, 0)
    (tmp_path / "base.json").write_text(json.dumps(BASE))
    assert found() == (10, 0, 0, 0)


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ({"fixed": {"epochs": 30}}, {"epochs": 60}, "--epochs 60 is given, and the search space"),
        ({"search": {"seed": {"choices": [1, 2]}}}, {"seed": 0}, "sets seed, too; leave one"),
        ({"fixed": {"epochs": 30}}, {"tuner": "hyperband"}, "take epochs out of the space"),
    ],
)
def test_what_the_space_and_the_flags_both_set_is_refused(tmp_path, capsys, space, more, message):
    # Before the dataset is looked for.
    arguments = flags(tmp_path / "none", tmp_path / "out", tmp_path, SPACE | space, **more)
    assert tune.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_best_names_the_dataset_where_it_is_now(tmp_path):
    write_small_dataset(tmp_path / "data", train=16)
    arguments = flags(tmp_path / "data", tmp_path / "out", tmp_path)
    search = tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tuning"))
    folder = search.trials / "0"
    trained = TrainConfig(data_dir=tmp_path / "before", output_dir=folder / "run", lr=0.007)
    config_files.write_config(trained, folder / "config.json")
    record = TrialRecord(id="0", settings={"lr": 0.007}, status="completed", score=0.5)
    best = json.loads(write_best(search, record).read_text())
    assert (best["data_dir"], best["lr"]) == (str(tmp_path / "data"), 0.007)


def test_bad_input_leaves_nothing_behind(small_dataset, tmp_path, capsys):
    output = tmp_path / "out"
    space = {"search": {"learning_rate": {"min": 1, "max": 2}}}
    assert tune.main(flags(small_dataset, output, tmp_path, space)) == 2
    assert "learning_rate" in capsys.readouterr().err
    assert tune.main(flags(tmp_path, output, tmp_path)) == 2
    assert "dataset.json" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"patch_size": 64}, "--patch-size 64 is larger than"), ({"batch_size": 10**6}, "lower --ba")],
)
def test_patches_that_the_dataset_lacks_are_told_once(
    small_dataset, tmp_path, capsys, sizes, message
):
    arguments = flags(small_dataset, tmp_path / "out", tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(BASE | sizes))
    assert tune.main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and "from its space or from --train-config" in said
    assert not (tmp_path / "out").exists()


def test_batches_that_the_dataset_cannot_fill_are_not_tried(small_dataset, tmp_path, capsys):
    found = {"search": {"batch_size": {"choices": [16, 64]}, "patch_size": {"choices": [32, 64]}}}
    arguments = flags(small_dataset, tmp_path / "out", tmp_path, found)  # 32 patches of 32 px.
    search = tune.make_search(cli.parse(tune.TuneConfig, arguments, prog="tune"))
    allowed = [search.space.settings(one) for one in search.space.chosen() if search.allows(one)]
    assert allowed == [{"batch_size": 16, "patch_size": 32}]
    too_large = {"search": {"batch_size": {"choices": [64, 128]}}}
    assert tune.main(flags(small_dataset, tmp_path / "out", tmp_path, too_large)) == 2
    assert "lower --batch-size" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_failed_trials_fail_alone_until_too_many_do(small_dataset, tmp_path, capsys):
    failures = flags(small_dataset, tmp_path / "a", tmp_path, MISSING)
    assert tune.main(failures) == 1
    records = read_records(tmp_path / "a" / "trials")
    assert [r.status for r in records] == ["failed", "failed"]
    assert "missing" in records[0].error
    assert "no trial succeeded" in capsys.readouterr().out
    failures = flags(small_dataset, tmp_path / "b", tmp_path, MISSING, **{"max-failures": 2})
    assert tune.main(failures) == 2
    said = capsys.readouterr().err
    assert "2 trials failed in a row, the last with" in said
    assert "Traceback" not in said
    assert not (tmp_path / "b" / "best.json").exists()
    # What succeeded before is ranked all the same; the trial that failed last is tried again.
    good = tmp_path / "b" / "trials" / "9"
    config = TrainConfig(data_dir=small_dataset, output_dir=good / "run", lr=0.007)
    config_files.write_config(config, good / "config.json")
    TrialRecord(id="9", settings={"lr": 0.007}, status="completed", score=0.5).save(good)
    assert tune.main(failures) == 2
    assert json.loads((tmp_path / "b" / "best.json").read_text())["lr"] == 0.007
    # A damaged state is told in a sentence, too.
    (tmp_path / "b" / "oracle" / "oracle.json").write_text("{")
    assert tune.main(failures) == 2
    assert "cannot read the state of the search" in capsys.readouterr().err


def test_retraining_for_other_epochs_spoils_nothing(small_dataset, tmp_path, capsys):
    # No trial trains: the space is refused, and the best one was put there by hand.
    output = tmp_path / "out"
    best = TrainConfig(
        data_dir=small_dataset, output_dir=output / "trials" / "9" / "run",
        **(BASE | {"decoder_filters": (16, 8, 8, 8, 8), "seed": 7}),
    )  # fmt: skip
    arguments = flags(small_dataset, output, tmp_path, MISSING, **{"max-trials": 1})
    assert tune.main(arguments) == 1
    config_files.write_config(best, output / "trials" / "9" / "config.json")
    completed = TrialRecord(id="9", settings={}, status="completed", score=0.61)
    completed.save(output / "trials" / "9")
    again = replace(best, output_dir=output / "retrained" / "9" / "run", epochs=50, seed=8,
                    monitor="mean_f1")  # fmt: skip
    write_settings(again, check(again))
    write_json(RunFolder(again.output_dir).summary, {"status": "finished"})
    completed.save(output / "retrained" / "9")
    kept = {p: p.read_bytes() for p in (output / "retrained").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert tune.main([*arguments, "--retrain-best", "1", "--retrain-epochs", "60"]) == 2
    said = capsys.readouterr().err
    assert "another config: epochs (was 50, now 60); retrain with the settings of then" in said
    assert {p: p.read_bytes() for p in (output / "retrained").rglob("*") if p.is_file()} == kept


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(tiny_dataset, tmp_path):
    # The session's larger patches, for epochs that last long enough to be killed in.
    output = tmp_path / "out"
    arguments = flags(tiny_dataset, output, tmp_path, epochs=3)
    process = subprocess.Popen([sys.executable, "-m", "tuning", *arguments], start_new_session=True)
    history = output / "trials" / "1" / "run" / "history.csv"
    deadline = time.monotonic() + 400
    while not history.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    first = (output / "trials" / "0" / "trial.json").stat().st_mtime_ns
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "trials" / "1" / "trial.json").exists()
    assert tune.main(arguments) == 0
    records = read_records(output / "trials")
    assert [(r.id, r.status, r.epochs) for r in records] == [
        ("0", "completed", 3), ("1", "completed", 3)
    ]  # fmt: skip
    assert (output / "trials" / "0" / "trial.json").stat().st_mtime_ns == first
    assert "continuing" in (output / "trials" / "1" / "train.log").read_text()


@pytest.mark.slow
def test_two_workers_share_the_trials(small_dataset, tmp_path):
    output = tmp_path / "out"
    lrs = {"search": {"lr": {"choices": [1e-3, 2e-3, 3e-3, 4e-3]}}}
    arguments = flags(small_dataset, output, tmp_path, lrs, workers=2, **{"max-trials": 4})
    assert tune.main(arguments) == 0
    records = read_records(output / "trials")
    assert [r.status for r in records] == ["completed"] * 4
    assert {p.name for p in (output / "oracle").glob("worker*.json")} == {
        "worker0.json", "worker1.json"
    }  # fmt: skip
    assert json.loads((output / "config.json").read_text())["workers"] == 2


@pytest.mark.slow
def test_workers_give_up_when_all_trials_fail(small_dataset, tmp_path, capfd):
    arguments = flags(
        small_dataset, tmp_path / "out", tmp_path, MISSING,
        workers=2, **{"max-trials": 20, "max-failures": 2},
    )  # fmt: skip
    assert tune.main(arguments) == 2
    said = capfd.readouterr().err
    assert "2 trials failed in a row" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Six trainings or more, each a process that starts TensorFlow.
def test_hyperband_gives_the_best_more_epochs(small_dataset, tmp_path):
    output = tmp_path / "out"
    lrs = {"search": {"lr": {"min": 1e-4, "max": 1e-2, "scale": "log"}}}
    arguments = flags(small_dataset, output, tmp_path, lrs, tuner="hyperband", epochs=3)
    assert tune.main(arguments) == 0
    epochs = [r.settings["epochs"] for r in read_records(output / "trials")]
    assert max(epochs) == 3 and min(epochs) < 3
