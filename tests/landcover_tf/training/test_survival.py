"""Whatever ends a training, the same command goes on as if nothing had happened.

The slow test kills the real program.
"""

import csv
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tensorflow as tf
from fakes.killed_program import run_killed
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import PowerCutError, after_epochs, settings, small_loop

from landcover_tf.errors import RunError
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.loop import Loop
from landcover_tf.training.state import (
    Best,
    Progress,
    best_on_disk,
    best_row,
    load_state,
    save_best,
    save_state,
)

CLOCKS = ("seconds", "patches_per_second", "input_wait_fraction")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_small_dataset(folder)
    return folder


def assert_same_end(loop: Loop, expected: Loop) -> None:
    found, wanted = loop.stepper.state(), expected.stepper.state()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for row, other in zip(loop.progress.history, expected.progress.history, strict=True):
        assert {k: v for k, v in row.items() if k not in CLOCKS} == {
            k: v for k, v in other.items() if k not in CLOCKS
        }
    assert loop.plateau == expected.plateau
    best, other = (best_on_disk(one.run.best_weights) for one in (loop, expected))
    assert (best.score, best.epoch) == (other.score, other.epoch)
    assert_same_weights(loop.run.best_weights, expected.run.best_weights)


def assert_same_weights(path, other) -> None:
    with h5py.File(path) as first, h5py.File(other) as second:
        names = []
        # What is not None ends the visit.
        first.visititems(lambda n, v: names.append(n) if isinstance(v, h5py.Dataset) else None)
        assert names
        for name in names:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(data_dir, tmp_path_factory) -> Loop:
    loop = small_loop(settings(data_dir, tmp_path_factory.mktemp("runs") / "whole"))
    assert loop.train(StopRequest())
    assert loop.progress.epoch == 3 and loop.batches.steps == 3
    return loop


# Nine steps in all: within the first epoch, in the second and in the third.
@pytest.mark.parametrize(("dies_at", "minutes"), [(2, 0), (5, 1e3), (8, 0)])
def test_a_power_cut_changes_nothing(data_dir, tmp_path, uninterrupted, dies_at, minutes):
    config = settings(data_dir, tmp_path / "run", checkpoint_minutes=minutes)
    loop = small_loop(config)
    loop.stepper.dies_at = dies_at
    with pytest.raises(PowerCutError):
        loop.train(StopRequest())
    # Without a state, the same command begins anew; the weights' seed is the run's then.
    resume = loop.run.state.is_file()
    again = small_loop(config, seed=9 if resume else 0)
    if resume:
        again.restore()
        assert again.progress.epoch * 3 + again.progress.step == (
            dies_at if minutes == 0 else dies_at // 3 * 3
        )
    assert again.train(StopRequest())
    assert_same_end(again, uninterrupted)


def test_a_power_cut_between_best_weights_and_state_changes_nothing(
    data_dir, tmp_path, uninterrupted
):
    class Cut(Loop):
        def save(self):
            if self.progress.epoch == 2:
                raise PowerCutError
            super().save()

    config = settings(data_dir, tmp_path / "run")
    loop = small_loop(config)
    loop.__class__ = Cut
    with pytest.raises(PowerCutError):
        loop.train(StopRequest())
    assert load_state(loop.run.state)[1].epoch == 1
    again = small_loop(config, seed=9)
    again.restore()
    # A run that stops here has a best epoch that its history does not know yet.
    best, place = best_row(again.run.best_weights, again.progress), again.progress
    assert best["epoch"] == place.best_epoch and best["val_mean_iou"] == place.best
    assert len(place.history) == 1
    assert again.train(StopRequest())
    assert_same_end(again, uninterrupted)


def test_sigterm_saves_and_stops_after_the_step(data_dir, tmp_path, uninterrupted):
    config = settings(data_dir, tmp_path / "run")
    loop = after_epochs(small_loop(config), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with StopRequest() as stop:
        assert not loop.train(stop)
    assert stop.exit_code == 143
    state = load_state(loop.run.state)[1]
    assert (state.epoch, state.step) == (1, 1)
    again = small_loop(config, seed=9)
    again.restore()
    assert again.train(StopRequest())
    assert_same_end(again, uninterrupted)


def test_sigterm_in_the_validation_does_not_wait_for_its_end(data_dir, tmp_path, uninterrupted):
    config = settings(data_dir, tmp_path / "run")
    loop = small_loop(config)
    validate, seen = loop.stepper.validate, []

    def signalled(batch):
        seen.append(batch)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(batch)

    loop.stepper.validate = signalled
    with StopRequest() as stop:
        assert not loop.train(stop)
    state = load_state(loop.run.state)[1]
    assert len(seen) == 1
    assert (state.epoch, state.step) == (0, loop.batches.steps)
    again = small_loop(config, seed=9)
    again.restore()
    assert again.train(StopRequest())
    assert_same_end(again, uninterrupted)


def test_best_weights_are_never_replaced_by_worse_ones(data_dir, tmp_path):
    config = settings(data_dir, tmp_path / "run")
    loop = small_loop(config)
    loop.stepper.dies_at = 4
    with pytest.raises(PowerCutError):
        loop.train(StopRequest())
    # Weights of an epoch that the state on disk does not know, better than all to come.
    row = {"epoch": 2, "val_mean_iou": 1.5}
    save_best(loop.run.best_weights, loop.stepper.model, Best(score=1.5, epoch=2, row=row))
    before = loop.run.best_weights.read_bytes()
    again = small_loop(config, seed=9)
    again.restore()
    assert again.train(StopRequest())
    assert again.run.best_weights.read_bytes() == before
    assert (again.progress.best, again.progress.best_epoch) == (1.5, 2)
    # The history has epoch 2 as it was trained again; these weights are not its.
    assert best_row(again.run.best_weights, again.progress) == row


def test_lost_best_weights_are_replaced_by_those_of_the_epochs_to_come(data_dir, tmp_path, capsys):
    config = settings(data_dir, tmp_path / "run")
    loop = small_loop(config)
    loop.stepper.dies_at = 4
    with pytest.raises(PowerCutError):
        loop.train(StopRequest())
    whole = loop.run.best_weights.read_bytes()
    loop.run.best_weights.write_bytes(whole[: len(whole) // 2])
    loop.restore()
    assert "best.weights.h5, the weights of epoch 1, cannot be read" in capsys.readouterr().err
    loop.run.best_weights.unlink()
    # Better than all epochs to come.
    save_state(loop.run.state, loop.stepper.state(), Progress(epoch=1, best=1.5, best_epoch=1))
    again = small_loop(config)
    again.restore()
    assert again.train(StopRequest())
    best = best_on_disk(again.run.best_weights)
    assert best.score == max(row["val_mean_iou"] for row in again.progress.history)
    assert again.progress.best_epoch == best.epoch > 1
    again.run.best_weights.unlink()
    with pytest.raises(RunError, match="no epoch is left to make new ones; remove the run folder"):
        again.restore()


@pytest.mark.parametrize("scaled", [False, True])
def test_a_run_goes_on_in_the_precision_of_another_device(data_dir, tmp_path, capsys, scaled):
    config = settings(data_dir, tmp_path / "run")
    # float16 is what scales the loss.
    begun, other = (small_loop(config, scale_loss=scale) for scale in (scaled, not scaled))
    begun.stepper.model.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    begun.save()
    other.restore()
    assert other.stepper.model.get_layer("logits").bias.numpy().tolist() == [1, 2, 3]
    names = ["float16", "another precision than float16"][:: 1 if scaled else -1]
    assert f"trained in {names[0]} and goes on in {names[1]}" in capsys.readouterr().out
    state = other.stepper.state()
    assert ("optimizer/loss_scale" in state) == (not scaled)


def test_averages_remember_few_steps_at_first_and_are_the_best_weights(data_dir, tmp_path):
    decays, epochs = [], []

    def noted(batches, decay):
        decays.append(decay)
        return train(batches, decay)

    def keep():
        both = loop.stepper.averages, loop.stepper.averaged
        epochs.append([[v.numpy() for v in values] for values in both])

    config = settings(data_dir, tmp_path / "run", epochs=2, ema_decay=0.3)
    loop = after_epochs(small_loop(config), keep)
    train, loop.stepper.train = loop.stepper.train, noted
    assert loop.train(StopRequest())
    # (1 + n) / (10 + n): 1/10, 2/11, 3/12, and 4/13 is above 0.3.
    assert decays == pytest.approx([1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3])
    averages, trained = epochs[best_on_disk(loop.run.best_weights).epoch - 1]
    loop.stepper.model.load_weights(loop.run.best_weights)
    for variable, average in zip(loop.stepper.averaged, averages, strict=True):
        np.testing.assert_array_equal(variable.numpy(), average, err_msg=variable.path)
    assert not np.array_equal(averages[0], trained[0])


def test_the_profiled_steps_are_those_of_the_process(data_dir, tmp_path):
    loop = small_loop(settings(data_dir, tmp_path / "run", profile_steps=(1, 1)))
    loop.progress.epoch = 2  # As if it went on with a run.
    assert loop.train(StopRequest())
    assert list(loop.run.tensorboard.glob("plugins/profile/*/*.xplane.pb"))


def test_a_loss_that_is_no_number_keeps_its_batch(data_dir, tmp_path):
    loop = small_loop(settings(data_dir, tmp_path / "run", lr=1e38, schedule="constant"))
    with pytest.raises(RunError, match=r"the loss became \S+ .* look for impossible values"):
        loop.train(StopRequest())
    with np.load(loop.run.bad_batch) as kept:
        # All patches of the step: two batches of two.
        assert kept["image"].shape == (4, 32, 32, 4) and kept["label"].shape == (4, 32, 32)
        assert np.isfinite(kept["image"]).all()


def test_float16_that_never_has_a_finite_gradient_stops(data_dir, tmp_path):
    """It ended as complete: the loss is finite, every step is skipped, and the scale goes to 0."""
    config = settings(data_dir, tmp_path / "run", gradient_accumulation=1, epochs=9)
    loop = small_loop(config, scale_loss=True)
    loss = loop.stepper.loss
    loop.stepper.loss = lambda label, logits: loss(label, without_gradient(logits))
    with pytest.raises(RunError, match=r"in epoch 3 the loss became 0\.\d+ .* of norm nan; the"):
        loop.train(StopRequest())
    # Six steps are an epoch, and 2^15 is halved to 1 by 15.
    assert loop.stepper.optimizer.loss_scale() in (1, 0.5)
    with np.load(loop.run.bad_batch) as kept:
        assert kept["image"].shape == (2, 32, 32, 4)


@tf.custom_gradient
def without_gradient(values):
    return values, lambda gradient: gradient * np.nan


def test_a_damaged_state_is_told(data_dir, tmp_path):
    loop = small_loop(settings(data_dir, tmp_path / "run"))
    loop.run.state.parent.mkdir()
    loop.run.state.write_bytes(b"half a fi")
    with pytest.raises(RunError, match="is not a training state"):
        loop.restore()


def test_a_state_behind_the_end_of_its_epoch_is_refused(data_dir, tmp_path):
    """The epoch passed for trained, and the run ended as finished."""
    loop = small_loop(settings(data_dir, tmp_path / "run"))
    loop.progress.step = 4  # The epoch that began the run had more than the three of now.
    loop.save()
    again = small_loop(loop.config)
    with pytest.raises(RunError, match=r"is behind step 4 of an epoch, which has 3 now: .* choose"):
        again.restore()


def test_kill_minus_nine_of_a_small_network_changes_nothing(data_dir, tmp_path, uninterrupted):
    config = settings(data_dir, tmp_path / "run", checkpoint_minutes=0)
    run_killed("fakes.small_loop", [str(data_dir), str(tmp_path / "run")],
               entering="landcover_tf.training.state.save_state", call=6)  # fmt: skip
    again = small_loop(config, seed=9)
    again.restore()
    place = again.progress
    assert 0 < place.epoch * 3 + place.step < 6
    assert again.train(StopRequest())
    assert_same_end(again, uninterrupted)


@pytest.mark.slow
def test_kill_minus_nine_in_mid_epoch(data_dir, tmp_path):
    def command(run) -> list[str]:
        return [
            sys.executable, "-m", "landcover_tf.train", "--data-dir", str(data_dir),
            "--output-dir", str(run), "--model", "resnet18", "--encoder-weights", "none",
            "--decoder-filters", "8", "8", "8", "8", "8", "--patch-size", "32",
            "--batch-size", "2", "--epochs", "3", "--lr", "1e-3", "--ema-decay", "0.9",
            "--checkpoint-minutes", "0", "--deterministic",
        ]  # fmt: skip

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), cwd=tmp_path, check=True, capture_output=True)
    for least in (2, 9):
        _kill_after_step(command(killed), killed / "last" / "state.safetensors", least, tmp_path)
    done = subprocess.run(command(killed), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "continuing at epoch" in done.stdout
    histories = []
    for run in (whole, killed):
        with (run / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        histories.append([{k: v for k, v in row.items() if k not in CLOCKS} for row in rows])
    assert histories[0] == histories[1]
    arrays = [load_state(run / "last" / "state.safetensors")[0] for run in (whole, killed)]
    for name, value in arrays[0].items():
        np.testing.assert_array_equal(arrays[1][name], value, err_msg=name)
    assert_same_weights(killed / "best.weights.h5", whole / "best.weights.h5")


def _kill_after_step(command, state, least, folder) -> None:
    """Kills the program as soon as its state is of step `least` of the run or a later one."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if state.is_file():
            place = load_state(state)[1]
            if place.epoch * 6 + place.step >= least:
                break
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
