"""KerasTuner's oracles with a state on disk that a kill at any moment leaves whole.

KerasTuner writes its files in place and a new trial before the list of trials, so a kill between
two writes would leave half a file, or a trial that counts but never runs.
"""

from pathlib import Path
from typing import Any

from keras_tuner import Objective, oracles, synchronized

from landcover_tf.files import write_json
from tuning.trials import TunerKind

_ENDED = ("COMPLETED", "FAILED")
"""Status of a trial that is over."""


class _Durable:
    """Mixed into an oracle: files are replaced as a whole, and no started trial is forgotten."""

    failure: RuntimeError | None = None
    """Too many trials failed in a row: no further one is handed out, and workers are told so."""

    def save(self: Any) -> None:
        write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self: Any, trial: Any) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_json(folder / "trial.json", trial.get_state())

    def create_trial(self: Any, tuner_id: str) -> Any:
        if self.failure:
            raise self.failure
        return super().create_trial(tuner_id)  # type: ignore[misc]

    def end_trial(self: Any, trial: Any) -> None:
        self._end_trial(trial)
        if self.failure:
            raise self.failure

    @synchronized  # type: ignore[untyped-decorator]
    def _end_trial(self: Any, trial: Any) -> None:
        # KerasTuner 1.4.8 keeps its lock after an exception, and a chief would wait for it.
        try:
            super().end_trial(trial)  # type: ignore[misc]
        except RuntimeError as error:
            self.failure = error
            return
        # KerasTuner 1.4.8 saves the trial among the running ones and takes it out afterwards. A
        # chief saves nothing later, so its last trials would run again at every start.
        self.save()

    def reload(self: Any) -> None:
        super().reload()  # type: ignore[misc]
        # Once each, or a trial that failed twice would count as two; earlier versions wrote so.
        trials = self.trials
        over = [i for i in self.end_order if i in trials and trials[i].status in _ENDED]
        self.end_order = list(dict.fromkeys(over))
        self._retry_queue = [i for i in self._retry_queue if i not in over]
        for trial_id in sorted(self.trials.keys() - {*self._retry_queue, *self.start_order}):
            # Its own file was written, the oracle's was not.
            self._record_values(self.trials[trial_id])
            self.start_order.append(trial_id)
            self._retry_queue.append(trial_id)


class RandomOracle(_Durable, oracles.RandomSearchOracle):  # type: ignore[misc]
    """Settings at random."""


class BayesianOracle(_Durable, oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """Settings where a Gaussian process expects the most."""


class HyperbandOracle(_Durable, oracles.HyperbandOracle):  # type: ignore[misc]
    """Many settings for few epochs, the best of them for more."""


def oracle_of(
    kind: TunerKind,
    *,
    objective: str,
    hyperparameters: Any,
    max_trials: int,
    max_epochs: int,
    max_failures: int,
    seed: int,
) -> Any:
    """Returns a silent oracle.

    Args:
        kind: Who proposes.
        objective: Name of the score to raise.
        hyperparameters: The space, `keras_tuner.HyperParameters`.
        max_trials: Trials of the random and Bayesian oracle.
        max_epochs: Hyperband's largest number of epochs.
        max_failures: Failed trials in a row that end the search.
        seed: Not negative; equal seeds propose equal settings.
    """
    common = {
        "objective": Objective(objective, "max"),
        "hyperparameters": hyperparameters,
        "seed": seed + 1,  # KerasTuner 1.4.8 takes 0 for no seed and draws one.
        "allow_new_entries": True,  # Hyperband adds its own.
        "max_consecutive_failed_trials": max_failures,
    }
    if kind == "hyperband":
        oracle = HyperbandOracle(max_epochs=max_epochs, **common)
    elif kind == "bayesian":
        oracle = BayesianOracle(max_trials=max_trials, **common)
    else:
        oracle = RandomOracle(max_trials=max_trials, **common)
    oracle.verbose = 0
    return oracle
