"""KerasTuner's oracles as the search uses them: equal seeds, and a state that survives a kill."""

import json
import shutil
from collections import Counter
from math import log10
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tuning.oracles import oracle_of
from tuning.plan import hyperband_plan
from tuning.space import load_space, space_of

LR = {"min": 1e-4, "max": 1e-2, "scale": "log"}


def oracle(folder, kind="random", seed=0, search=None, trials=12, allows=lambda values: True):
    space = space_of({"search": search}, Path("space.json")) if search else load_space("quick")
    found = oracle_of(
        kind, objective="mean_f1", hyperparameters=space.hyperparameters(), allows=allows,
        max_trials=trials, max_epochs=9, max_failures=3, seed=seed,
    )  # fmt: skip
    found._set_project_dir(str(folder), "oracle")
    return found


def trials_of(found, score):
    """Runs a search without training; returns its trials.

    Args:
        found: The oracle.
        score: Returns a score for values and the number of the trial, None where it fails.
    """
    while (trial := found.create_trial("tuner0")).status == "RUNNING":
        value = score(trial.hyperparameters.values, len(found.end_order))
        if value is not None:
            found.update_trial(trial.trial_id, {"mean_f1": value})
        trial.status = "FAILED" if value is None else "COMPLETED"
        found.end_trial(trial)
    return list(found.trials.values())


# 9 epochs in thirds: 9 trials, of which 3 and then 1 go on; 5 and 2; 3.
WHOLE = {(2, 0): 9, (2, 1): 3, (2, 2): 1, (1, 0): 5, (1, 1): 2, (0, 0): 3}


def rounds_of(trials):
    """Returns how many trials each Hyperband bracket and round has."""
    values = [trial.hyperparameters.values for trial in trials]
    return dict(Counter((v["tuner/bracket"], v["tuner/round"]) for v in values))


def proposals(found, count=3):
    return [found.create_trial(f"tuner{i}").hyperparameters.values for i in range(count)]


@pytest.mark.parametrize("kind", ["random", "bayesian", "hyperband"])
def test_the_seed_decides_what_is_proposed(tmp_path, kind):
    # KerasTuner 1.4.8 draws a seed of its own when it is given 0.
    first, again, other = (
        proposals(oracle(tmp_path / str(i), kind, seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", ["random", "bayesian", "hyperband"])
def test_a_trial_that_was_written_before_the_kill_is_run(tmp_path, kind):
    killed = oracle(tmp_path, kind)
    state = tmp_path / "oracle" / "oracle.json"
    killed.create_trial("tuner0")
    shutil.copy(state, tmp_path / "before.json")
    lost = killed.create_trial("tuner1")
    # The kill came between the file of the second trial and that of the oracle.
    shutil.copy(tmp_path / "before.json", state)
    resumed = oracle(tmp_path, kind)
    resumed.reload()
    trials = [resumed.create_trial(f"tuner{i}") for i in range(3)]
    width = len(lost.trial_id)
    assert {t.trial_id for t in trials} == {f"{i:0{width}d}" for i in range(3)}
    again = next(t for t in trials if t.trial_id == lost.trial_id)
    assert again.hyperparameters.values == lost.hyperparameters.values
    assert resumed.start_order == sorted(resumed.start_order)


@pytest.mark.parametrize("name", ["s[1]", "s*"])
def test_trials_are_found_again_whatever_the_folder_is_called(tmp_path, name):
    proposals(oracle(tmp_path / "s1"))
    begun = oracle(tmp_path / name).create_trial("tuner0")
    resumed = oracle(tmp_path / name)
    resumed.reload()
    assert list(resumed.trials) == [begun.trial_id]
    assert resumed.create_trial("tuner0").hyperparameters.values == begun.hyperparameters.values


@pytest.mark.parametrize("saved_before", [False, True])
def test_the_last_trial_of_a_search_is_over_though_it_failed(tmp_path, saved_before):
    found = oracle(tmp_path)
    state = tmp_path / "oracle" / "oracle.json"
    first, last = (found.create_trial(f"tuner{i}") for i in range(2))
    running = json.loads(state.read_text())["ongoing_trials"]
    for trial in (first, last):
        trial.status = "FAILED"
        found.end_trial(trial)
    written = json.loads(state.read_text())
    assert (written["ongoing_trials"], written["end_order"]) == ({}, ["00", "01"])
    if saved_before:  # As earlier versions left it after three starts of a finished search.
        state.write_text(json.dumps(written | {
            "ongoing_trials": {"tuner1": running["tuner1"]}, "end_order": ["00", "01", "01", "01"]
        }))  # fmt: skip
    resumed = oracle(tmp_path)
    resumed.reload()
    # The search is extended by a third trial, which is the third failure in a row.
    third = resumed.create_trial("tuner0")
    assert third.trial_id == "02"
    third.status = "FAILED"
    with pytest.raises(RuntimeError, match="consecutive failures exceeded the limit of 3"):
        resumed.end_trial(third)


def test_all_trials_whose_failures_ended_the_search_are_run_again(tmp_path):
    found = oracle(tmp_path)
    for i in range(3):
        found.create_trial(f"tuner{i}")
    trials = list(found.trials.values())
    for trial in trials:
        trial.status = "FAILED"
    for trial in trials[:2]:
        found.end_trial(trial)
    with pytest.raises(RuntimeError, match="consecutive failures"):
        found.end_trial(trials[2])
    with pytest.raises(RuntimeError, match="consecutive failures"):
        found.create_trial("tuner9")  # Another machine's.
    found.save()  # As that did in earlier versions: three have ended.
    resumed = oracle(tmp_path)
    resumed.reload()
    again = [resumed.create_trial(f"tuner{i}").trial_id for i in range(4)]
    assert again == ["00", "01", "02", "03"]
    assert resumed.end_order == []


def test_a_failed_trial_before_a_kill_is_over(tmp_path):
    found = oracle(tmp_path)
    failed, _ = (found.create_trial(f"tuner{i}") for i in range(2))
    failed.status = "FAILED"
    found.end_trial(failed)
    resumed = oracle(tmp_path)
    resumed.reload()
    assert [resumed.create_trial(f"tuner{i}").trial_id for i in range(2)] == ["01", "02"]


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path):
    found = oracle(tmp_path)
    found.create_trial("tuner0")
    state = tmp_path / "oracle" / "oracle.json"
    before = state.read_text()
    found.seed = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        found.save()
    assert state.read_text() == before
    assert json.loads(before)["start_order"] == ["00"]
    assert {path.name for path in state.parent.iterdir()} == {"oracle.json", "trial_00"}


def test_a_choice_that_always_fails_does_not_end_a_bayesian_search(tmp_path):
    def score(values, _):
        size = int(values["batch_size"])  # The larger, the better, until the memory is full.
        return None if size == 32 else 0.1 * log10(size) - 0.02 * (log10(values["lr"]) + 3) ** 2

    search = {"lr": LR, "batch_size": {"choices": [4, 8, 16, 32]}}
    found = oracle(tmp_path, "bayesian", 1, search, trials=10)
    found.num_initial_points = 7
    trials = trials_of(found, score)
    assert len(trials) == 10
    failed = [t for t in trials if t.status == "FAILED"]
    assert len({t.hyperparameters.values["lr"] for t in failed}) == len(failed) > 0


@pytest.mark.filterwarnings("error:The optimal value found")
@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_search_of_choices_tries_each_combination_once(tmp_path, kind):
    three = {"choices": [1, 2, 4]}
    found = oracle(tmp_path, kind, search={"batch_size": three, "dice_weight": three}, trials=9)
    trials = trials_of(found, lambda _, number: 0.5 + 0.01 * (number * 7 % 5))
    assert len({tuple(t.hyperparameters.values.items()) for t in trials}) == len(trials) == 9


@pytest.mark.parametrize(
    ("doubled", "rounds"),
    [
        ((), {(2, 0): 3, (2, 1): 1, (2, 2): 1}),
        (("model",), {(2, 0): 6, (2, 1): 2, (2, 2): 1}),
        # 9 in thirds, 3 of the 5 that the second bracket takes, and none for the last.
        (("model", "loss"), {(2, 0): 9, (2, 1): 3, (2, 2): 1, (1, 0): 3, (1, 1): 1}),
    ],
)
def test_hyperband_promotes_though_no_combination_is_left(tmp_path, doubled, rounds):
    """It ended after the first round."""
    search = {"batch_size": {"choices": [1, 2, 4]}} | {n: {"choices": [1, 2]} for n in doubled}
    found = oracle(tmp_path, "hyperband", search=search)
    trials = trials_of(found, lambda _, number: 0.5 + 0.01 * (number * 7 % 5))
    assert rounds_of(trials) == rounds
    settings = [tuple(t.hyperparameters.values[name] for name in search) for t in trials]
    assert len(set(settings)) == 3 * 2 ** len(doubled)
    epochs = sum(t.hyperparameters.values["tuner/epochs"] for t in trials)
    assert hyperband_plan(found, 3 * 2 ** len(doubled)) == (len(trials), epochs)


@pytest.mark.parametrize("number", [0, 5, 9, 12, 13, 17, 18])
def test_a_hyperband_trial_of_a_kill_stays_in_its_bracket(tmp_path, number):
    """It belonged to none: it was never promoted, and a lost promotion was trained twice."""
    killed = oracle(tmp_path, "hyperband")
    state = tmp_path / "oracle" / "oracle.json"
    for i in range(number):
        trial = killed.create_trial("tuner0")
        killed.update_trial(trial.trial_id, {"mean_f1": 0.5 + 0.01 * (i * 7 % 23)})
        trial.status = "COMPLETED"
        killed.end_trial(trial)
    killed.save()
    before = state.read_text()
    killed.create_trial("tuner0")
    state.write_text(before)  # The kill came between the file of the trial and that of the oracle.
    resumed = oracle(tmp_path, "hyperband")
    resumed.reload()
    trials = trials_of(resumed, lambda _, number: 0.5 + 0.01 * (number * 7 % 23))
    assert rounds_of(trials) == WHOLE


def test_bayesian_proposals_approach_the_highest_score(tmp_path):
    found = oracle(tmp_path, "bayesian", search={"lr": LR}, trials=7)
    trials = trials_of(found, lambda values, _: 0.6 - 0.1 * (log10(values["lr"]) + 2.7) ** 2)
    assert trials[-1].hyperparameters.values["lr"] == pytest.approx(2e-3, rel=0.5)


@pytest.mark.parametrize(
    ("failing", "rounds"),
    [
        ((), WHOLE),
        ((1, 4, 6, 8), WHOLE),
        # Two of the first nine complete, and of these the first fails again.
        ((0, 1, 3, 4, 6, 7, 8, 9), {(2, 0): 9, (2, 1): 2, (2, 2): 1, (1, 0): 5, (1, 1): 2,
                                    (0, 0): 3}),
    ],
)  # fmt: skip
def test_hyperband_promotes_the_best_whatever_fails(tmp_path, failing, rounds):
    found = oracle(tmp_path, "hyperband")
    found.max_consecutive_failed_trials = 9
    trials = trials_of(
        found, lambda _, number: None if number in failing else 0.5 + 0.01 * (number * 7 % 23)
    )
    found = {place: [] for place in rounds}
    for trial in trials:
        values = trial.hyperparameters.values
        found[values["tuner/bracket"], values["tuner/round"]].append(trial)
    assert {place: len(there) for place, there in found.items()} == rounds
    for (bracket, place), there in found.items():
        if place:
            before = [t for t in found[bracket, place - 1] if t.status == "COMPLETED"]
            best = sorted(before, key=lambda t: -t.score)[: len(there)]
            promoted = [t.hyperparameters.values["tuner/trial_id"] for t in there]
            assert promoted == [t.trial_id for t in best]


def test_a_failed_trial_counts_as_the_worst_that_completed(tmp_path):
    found = oracle(tmp_path, "bayesian", trials=4)
    trials_of(found, lambda _, number: [0.2, 0.5, None, 0.9][number])
    # The process sees scores with their sign turned.
    assert sorted(found._vectorize_trials()[1]) == [-0.9, -0.5, -0.2, -0.2]


def test_a_running_trial_counts_as_no_worse_than_the_worst_that_completed(tmp_path):
    found = oracle(tmp_path, "bayesian", trials=4)
    for score in (0.2, 0.5):
        trial = found.create_trial("tuner0")
        found.update_trial(trial.trial_id, {"mean_f1": score})
        trial.status = "COMPLETED"
        found.end_trial(trial)
    found.create_trial("tuner1")
    assert sorted(found._vectorize_trials()[1]) == [-0.5, -0.2, -0.2]


def test_of_equal_means_the_most_uncertain_is_tried(tmp_path):
    found, points = oracle(tmp_path, "bayesian"), []

    def predict(drawn, return_std):
        points.extend(drawn)
        return np.zeros(len(drawn)), np.eye(len(drawn))[3]

    found.gpr = SimpleNamespace(predict=predict)
    chosen = found._best_drawn()["values"]
    assert found._points([chosen]) == [points[3]]


def test_most_of_a_bayesian_search_is_bayesian(tmp_path):
    # KerasTuner alone draws three per setting at random: 12 here, 57 of `wide`.
    sizes = {trials: oracle(tmp_path, "bayesian", trials=trials) for trials in (4, 20, 90)}
    assert {n: found.num_initial_points for n, found in sizes.items()} == {4: 3, 20: 6, 90: 8}
    sizes[20].create_trial("tuner0")
    state = tmp_path / "oracle" / "oracle.json"
    earlier = json.loads(state.read_text()) | {"num_initial_points": None}
    state.write_text(json.dumps(earlier))
    sizes[20].reload()
    assert sizes[20].num_initial_points == 6
