"""KerasTuner's oracles with a state on disk that a kill at any moment leaves whole.

KerasTuner writes its files in place and a new trial before the list of trials, so a kill between
two writes would leave half a file, or a trial that counts but never runs.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner import Objective, oracles, synchronized
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from landcover_tf.system.files import write_json
from tuning.trials import TunerKind

_ENDED = ("COMPLETED", "FAILED")
"""Status of a trial that is over."""
COLLISIONS = 1000
"""Settings in a row that were tried or are refused, after which the space counts as exhausted."""
DRAWN = 30
"""Settings at random among which the Gaussian process chooses, 0.02 s each."""


class _Durable:
    """Mixed into an oracle: files are replaced as a whole, no started trial is forgotten, and no
    combination that the training refuses is handed out."""

    allows: Callable[[Mapping[str, Any]], bool]
    """Whether the training accepts values."""
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

    def _duplicate(self: Any, values: Mapping[str, Any]) -> bool:
        if super()._duplicate(values):  # type: ignore[misc]
            return True
        if self.allows(values):
            return False
        # As if it had been tried, so that it is not checked, 0.02 s, at every draw.
        self._tried_so_far.add(self._compute_values_hash(values))
        return True

    def reload(self: Any) -> None:
        super().reload()  # type: ignore[misc]
        # KerasTuner 1.4.8 takes a `[` or `*` in the folder's own path for a pattern.
        files = sorted(Path(self._project_dir).glob("trial_*/trial.json"))
        self.trials = {trial.trial_id: trial for trial in map(Trial.load, map(str, files))}
        # Once each, or a trial that failed twice would count as two; earlier versions wrote so.
        trials = self.trials
        over = [i for i in self.end_order if i in trials and trials[i].status in _ENDED]
        self.end_order = list(dict.fromkeys(over))
        self._retry_queue = [i for i in self._retry_queue if i not in over]
        for trial_id in sorted(self.trials.keys() - {*self._retry_queue, *self.start_order}):
            # Its own file was written, the oracle's was not.
            self._adopt(self.trials[trial_id])
        if self._retry_queue:
            self._retry_last_failures()

    def _retry_last_failures(self: Any) -> None:
        """Lets all trials be tried again whose failures in a row ended the search.

        The cause was most likely none of their settings: a full disk, say. The last of them is in
        the queue already, as its end was never saved.
        """
        failed = itertools.takewhile(
            lambda i: self.trials[i].status == "FAILED", reversed(self.end_order)
        )
        row = list(failed)
        if len(row) >= self.max_consecutive_failed_trials - 1:
            self.end_order = self.end_order[: len(self.end_order) - len(row)]
            self._retry_queue += row  # It is taken from the end: the oldest first.

    def _adopt(self: Any, trial: Any) -> None:
        self._record_values(trial)
        self.start_order.append(trial.trial_id)
        self._retry_queue.append(trial.trial_id)


class RandomOracle(_Durable, oracles.RandomSearchOracle):  # type: ignore[misc]
    """Settings at random."""


class BayesianOracle(_Durable, oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """Settings where a Gaussian process expects the most, each tried once.

    KerasTuner 1.4.8 leaves failed trials out of the process and lets it propose a point again, so
    that one setting which always fails would fail until the search gives up. Where its proposal
    was tried or is refused, the process chooses among random settings that are neither.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            # A setting that hardly matters, about which nobody can do anything.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found: dict[str, Any] = super().populate_space(trial_id)
        if found["values"] and self._duplicate(found["values"]):
            found = self._best_drawn()
        return found

    def _best_drawn(self) -> dict[str, Any]:
        drawn = list(itertools.takewhile(bool, (self._random_values() for _ in range(DRAWN))))
        if not drawn:
            return {"status": "STOPPED", "values": None}
        # The bound that KerasTuner minimizes.
        mean, deviation = self.gpr.predict(self._points(drawn), return_std=True)
        return {"status": "RUNNING", "values": drawn[np.argmin(mean - self.beta * deviation)]}

    def _points(self, values: list[dict[str, Any]]) -> list[list[float]]:
        space = self._nonfixed_space()
        return [[hp.value_to_prob(one[hp.name]) for hp in space] for one in values]

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        x, y = super()._vectorize_trials()
        completed = [-t.score for t in self.trials.values() if t.status == "COMPLETED"]
        if not completed:
            return x, y
        # As bad as the worst that completed: far worse would flatten all else. Scores are negated.
        # KerasTuner 1.4.8 puts a trial that runs at 1 where the process has no data yet.
        worst = max(completed)
        y = np.minimum(y, worst)
        failed = [t.hyperparameters.values for t in self.trials.values() if t.status == "FAILED"]
        if not failed:
            return x, y
        return np.concatenate([x, self._points(failed)]), np.append(y, [worst] * len(failed))

    def set_state(self, state: dict[str, Any]) -> None:
        # Of earlier versions it holds none.
        super().set_state(state | {"num_initial_points": self.num_initial_points})


class HyperbandOracle(_Durable, oracles.HyperbandOracle):  # type: ignore[misc]
    """Many settings for few epochs, the best of them for more.

    KerasTuner 1.4.8 takes the best of a round once so many others have completed as the round
    throws away, so that after some failed trials nothing would be promoted any more; and it ends
    where no combination of settings is left, without promoting any.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        while True:
            for find in (self._promoted, self._drawn):
                for bracket in self._brackets:
                    values = find(bracket, trial_id)
                    if values is not None:
                        return {"status": "RUNNING", "values": values}
            if self._current_bracket == 0:
                return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
            self._next_bracket()

    def round_size(self, drawn: int, place: int) -> int:
        """Returns the most trials of a round of a bracket.

        Args:
            drawn: Trials of the bracket's first round.
            place: Number of the round, from 0.
        """
        size: int = math.ceil(drawn / self.factor**place)
        return size

    def _adopt(self, trial: Any) -> None:
        super()._adopt(trial)
        values = trial.hyperparameters.values
        number, place = values["tuner/bracket"], values["tuner/round"]
        while self._current_bracket > number:  # The trial was the first of its bracket.
            self._next_bracket()
        for bracket in self._brackets:
            if bracket["bracket_num"] == number:
                one = {"past_id": values.get("tuner/trial_id"), "id": trial.trial_id}
                bracket["rounds"][place].append(one)

    def _next_bracket(self) -> None:
        self._increment_bracket_num()
        self._start_new_bracket()

    def _to_draw(self, bracket: dict[str, Any]) -> int:
        """Returns the trials of a bracket's first round: as planned, or what the space had left."""
        return int(bracket.get("drawn", self._get_size(bracket["bracket_num"], 0)))

    def _drawn(self, bracket: dict[str, Any], trial_id: str) -> dict[str, Any] | None:
        """Returns the values of a trial for a bracket's first round, None if it needs no more."""
        number, first = bracket["bracket_num"], bracket["rounds"][0]
        if len(first) >= self._to_draw(bracket):
            return None
        values: dict[str, Any] | None = self._random_values()
        if values is None:
            bracket["drawn"] = len(first)
            return self._promoted(bracket, trial_id)
        first.append({"past_id": None, "id": trial_id})
        return {
            **values,
            "tuner/epochs": self._get_epochs(number, 0),
            "tuner/initial_epoch": 0,
            "tuner/bracket": number,
            "tuner/round": 0,
        }

    def _promoted(self, bracket: dict[str, Any], trial_id: str) -> dict[str, Any] | None:
        """Returns the values of a trial to promote, None if there is none or it is too early."""
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        drawn = coming = self._to_draw(bracket)  # Trials that a round will have in the end.
        if len(rounds[0]) < coming:
            return None
        for place, (past, now) in enumerate(itertools.pairwise(rounds), start=1):
            trials = [self.trials[one["id"]] for one in past]
            coming -= sum(t.status == "FAILED" for t in trials)
            taken = {one["past_id"] for one in now}
            left = [t for t in trials if t.status == "COMPLETED" and t.trial_id not in taken]
            size = min(self.round_size(drawn, place), coming)
            if len(left) > coming - size:
                best = max(left, key=lambda t: t.score)
                now.append({"past_id": best.trial_id, "id": trial_id})
                return {
                    **best.hyperparameters.values,
                    "tuner/trial_id": best.trial_id,
                    "tuner/epochs": self._get_epochs(number, place),
                    "tuner/initial_epoch": self._get_epochs(number, place - 1),
                    "tuner/bracket": number,
                    "tuner/round": place,
                }
            coming = size
        return None


def oracle_of(
    kind: TunerKind,
    *,
    objective: str,
    hyperparameters: Any,
    allows: Callable[[Mapping[str, Any]], bool],
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
        allows: Returns whether the training accepts values by name, KerasTuner's own left out.
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
        # KerasTuner's own number, three per setting, is more than the whole of most searches.
        points = min(2 * len(hyperparameters.space), max(3, max_trials // 3))
        oracle = BayesianOracle(max_trials=max_trials, num_initial_points=points, **common)
    else:
        oracle = RandomOracle(max_trials=max_trials, **common)
    oracle.allows = allows
    # KerasTuner's 20 draws often miss the few combinations that are untried and allowed.
    oracle._max_collisions = COLLISIONS
    oracle.verbose = 0
    return oracle
