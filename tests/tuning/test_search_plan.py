"""What a search is going to train, where the training refuses some combinations of settings."""

from pathlib import Path

import pytest

from tuning.plan import allowed_combinations, tell_end, tell_plan
from tuning.search import Search, _tuner
from tuning.space import Range, space_of

# Statistics in the input's skip need that skip, the fifth: 4 of the 6 combinations are allowed.
SIX = {"local_statistics": {"choices": [[3], []]}, "skip_connections": {"min": 3, "max": 5}}
LR = {"lr": {"min": 1e-4, "max": 1e-2, "scale": "log"}}


def search_of(folder, tuner, ranges, trials=9):
    return Search(
        space=space_of({"search": ranges}, Path("space.json")), base={"epochs": 9}, data_dir=folder,
        data_hash="", normalizer={}, output_dir=folder / "search", tuner=tuner,
        objective="mean_f1", max_trials=trials, max_failures=3, seed=0,
    )  # fmt: skip


def trained(oracle):
    """Completes all trials of a search without training; returns the values of each."""
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        score = 0.5 + 0.01 * (len(oracle.trials) * 7 % 23)
        oracle.update_trial(trial.trial_id, {"mean_f1": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return [trial.hyperparameters.values for trial in oracle.trials.values()]


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_no_combination_that_the_training_refuses_is_handed_out(tmp_path, tuner):
    """A third of the trials were, and failed; three in a row ended the search."""
    found = trained(_tuner(search_of(tmp_path, tuner, SIX | LR), echo=False).oracle)
    assert len(found) == {"hyperband": 23}.get(tuner, 9)
    pairs = {(values["local_statistics"], values["skip_connections"]) for values in found}
    assert pairs <= {("[]", 3), ("[]", 4), ("[]", 5), ("[3]", 5)}


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_a_search_that_has_tried_all_that_is_allowed_says_so(tmp_path, capsys, tuner):
    oracle = _tuner(search_of(tmp_path, tuner, SIX), echo=False).oracle
    assert len(trained(oracle)) == 4
    tell_end(oracle)
    assert "the search ends after 4 of 9 trials" in capsys.readouterr().out
    oracle.max_trials = 4
    tell_end(oracle)
    assert capsys.readouterr().out == ""


def test_the_plan_of_hyperband_counts_allowed_combinations(tmp_path, capsys):
    search = search_of(tmp_path, "hyperband", SIX)
    oracle = _tuner(search, echo=False).oracle
    tell_plan(oracle, search.space)
    # 4 trials of 1 epoch, 2 of 3 and 1 of 9.
    said = "trains 7 trials instead of 23, as the space allows 4 combinations, 19 epochs in all"
    assert said in capsys.readouterr().out
    assert [values["tuner/epochs"] for values in trained(oracle)] == [1, 1, 1, 1, 3, 3, 9]
    assert allowed_combinations(oracle, search.space, 3) == 3
    # So many are not counted: each check takes 0.02 s.
    large = space_of({"search": SIX | {"seed": {"min": 1, "max": 100}}}, Path("space.json"))
    assert allowed_combinations(oracle, large, 99) == 600


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"choices": [[3], [], [3]]}, None),
        ({"min": 3, "max": 5}, int),
        ({"min": 1, "max": 8, "step": 3}, int),
        ({"min": 0.25, "max": 1.0, "step": 0.25}, float),
    ],
)
def test_the_values_of_a_range_are_those_that_are_drawn(values, kind):
    import keras_tuner

    found = Range.from_dict(values, "space.json, name", kind)
    parameters = keras_tuner.HyperParameters()
    found.register("name", parameters)
    drawn = {parameters.space[0].random_sample(seed) for seed in range(100)}
    assert set(found.chosen()) == drawn and len(drawn) == found.count()
