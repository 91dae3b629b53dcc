"""KerasTuner's loop over the trials, each of which trains in a process of its own."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from landcover_tf.errors import RunError
from landcover_tf.system.files import write_json
from tuning import distributed
from tuning.trials import TrialRecord

GAVE_UP_NAME = "gave_up"
"""File of a chief that ended because too many trials failed in a row."""
IDLE_SECONDS = 1.0
"""Least time between two requests for a trial."""


class ProcessTuner(keras_tuner.engine.base_tuner.BaseTuner):  # type: ignore[misc]
    """Runs every trial as a training process.

    Args:
        oracle: One of `oracles`.
        folder: Where the oracle's state is kept, which is read where there is one.
        objective: What the oracle optimizes.
        train: Trains the trial of an id with the values that the oracle chose.
        error: Returns what to raise when the chief has given up.
    """

    asked = -IDLE_SECONDS

    def __init__(
        self,
        oracle: Any,
        folder: Path,
        *,
        objective: str,
        train: Callable[[str, Mapping[str, Any]], TrialRecord],
        error: Callable[[], RunError],
    ) -> None:
        self._objective, self._train, self._error = objective, train, error
        self._gave_up = folder / GAVE_UP_NAME
        super().__init__(oracle=oracle, directory=str(folder.parent), project_name=folder.name)

    def pre_create_trial(self) -> None:
        # KerasTuner asks again at once while Hyperband waits for other workers.
        time.sleep(max(0.0, self.asked + IDLE_SECONDS - time.monotonic()))
        self.asked = time.monotonic()

    def _get_tuner_fname(self) -> str:
        # KerasTuner reads the oracle's state only where this file is. With a file for each
        # name, a chief would begin anew what one process had begun, and the reverse.
        own = self._is_worker()
        return str(super()._get_tuner_fname() if own else self.oracle._get_oracle_fname())

    def save(self) -> None:
        if self._is_worker():
            write_json(self._get_tuner_fname(), self.get_state())
        else:
            self.oracle.save()

    def search(self) -> None:
        if not distributed.is_distributed() or self._is_worker():
            super().search()
        else:
            self.save()
            distributed.serve(self.oracle, self._gave_up)

    def run_trial(self, trial: Any) -> dict[str, float]:
        try:
            record = self._train(trial.trial_id, trial.hyperparameters.values)
            if self._is_worker() and self._gave_up.is_file():
                raise self._error()  # Nobody is left to ask.
        except Exception as error:
            # Anything but a fatal error would count as a failed trial and be forgotten.
            raise keras_tuner.errors.FatalError(str(error)) from error
        if record.score is None:
            print(f"trial {record.id} failed: {record.error}", flush=True)
            raise keras_tuner.errors.FailedTrialError(record.error)
        print(
            f"trial {record.id}: {self._objective} {record.score:.4f} at epoch "
            f"{record.best_epoch} of {record.epochs}, {record.seconds:.0f} s",
            flush=True,
        )
        return {self._objective: record.score}
