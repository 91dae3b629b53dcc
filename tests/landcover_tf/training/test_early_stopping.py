"""Early stopping: when it ends a training, and that it counts on over an interruption."""

import math

import pytest
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import PowerCutError, settings, small_loop

from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.state import Best, Progress, load_state, save_best


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_small_dataset(folder, train=4)  # Two steps an epoch.
    return folder


def patient(data_dir, output_dir):
    """Returns settings with little to compute that stop after two epochs without a new best."""
    return settings(
        data_dir, output_dir, epochs=6, early_stopping=2,
        gradient_accumulation=1, ema_decay=0.0, augmentation="none",
    )  # fmt: skip


def stopping_loop(config):
    """Returns a loop none of whose epochs can be the best."""
    loop = small_loop(config)
    best = Best(score=2.0, epoch=0, row={})  # No mean IoU is above 1.
    loop.progress.best, loop.progress.best_epoch = best.score, best.epoch
    save_best(loop.run.best_weights, loop.stepper.model, best)
    return loop


def test_waiting_counts_epochs_since_the_best():
    progress, waited = Progress(), []
    for epoch, score in enumerate([0.3, 0.5, 0.4, math.nan, 0.5, 0.6], start=1):
        progress.improve(score, epoch)
        waited.append(progress.waited)
    # A score as good as the best is not better; one that is no number is worse than any.
    assert waited == [0, 0, 1, 2, 3, 0]
    assert (progress.best, progress.best_epoch) == (0.6, 6)


def test_a_best_epoch_that_scores_a_little_less_when_trained_again_is_no_waiting():
    """The state is older than the best weights after a crash between the two files."""
    progress = Progress(epoch=9, best=0.6, best_epoch=10, waited=4)  # Of the epochs 6 to 9.
    assert not progress.improve(0.5999999, 10)
    assert progress.waited == 0
    assert not progress.improve(0.5, 11)
    assert progress.waited == 1


def test_a_training_stops_when_its_patience_ends_and_stays_stopped(data_dir, tmp_path):
    config = patient(data_dir, tmp_path / "run")
    loop = stopping_loop(config)
    assert loop.train(StopRequest())  # Complete, not interrupted.
    assert loop.progress.stopped and len(loop.progress.history) == 2
    kept = load_state(loop.run.state)[1]
    assert (kept.stopped, kept.waited, kept.epoch, kept.step) == (True, 2, 2, 0)
    # The same command once more, as after a crash before the summary was written.
    again = small_loop(config, seed=9)
    again.restore()
    again.stepper.dies_at = 0
    assert again.train(StopRequest())
    assert len(again.progress.history) == 2


def test_patience_goes_on_where_it_was(data_dir, tmp_path):
    config = patient(data_dir, tmp_path / "run")
    loop = stopping_loop(config)
    loop.stepper.dies_at = 3  # In the second epoch.
    with pytest.raises(PowerCutError):
        loop.train(StopRequest())
    again = small_loop(config, seed=9)
    again.restore()
    assert (again.progress.waited, again.progress.stopped) == (1, False)
    assert again.train(StopRequest())
    assert again.progress.stopped and again.progress.epoch == 2
