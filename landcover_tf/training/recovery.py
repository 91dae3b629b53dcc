"""The best weights on disk and the state beside them, when a training goes on."""

import sys

from landcover_tf.errors import RunError
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.state import Progress, best_on_disk, is_readable


def trust_best_on_disk(state: Progress, run: RunFolder, *, epochs: int, tell: bool) -> None:
    """Brings the best epoch of `state` into line with the weights in the run folder.

    Args:
        state: Restored; changed in place.
        run: Holds the best weights.
        epochs: Number of epochs of the whole training.
        tell: Whether to print a warning where the weights are lost.

    Raises:
        RunError: The best weights are lost and no epoch is left to make new ones.
    """
    # The weights may be newer than the state, if the process died between the two files.
    found = best_on_disk(run.best_weights)
    if found and (state.best is None or found.score > state.best):
        state.best, state.best_epoch = found.score, found.epoch
    if state.best is not None and not is_readable(run.best_weights):
        _forget_best(state, run, epochs=epochs, tell=tell)


def _forget_best(state: Progress, run: RunFolder, *, epochs: int, tell: bool) -> None:
    lost = f"{run.best_weights}, the weights of epoch {state.best_epoch}, cannot be read"
    if state.stopped or state.epoch >= epochs:
        raise RunError(
            f"{lost}, and no epoch is left to make new ones; remove the run folder and train again"
        )
    if tell:
        print(f"warning: {lost}; the best of the epochs to come is kept", file=sys.stderr)
    state.best = state.best_epoch = None
