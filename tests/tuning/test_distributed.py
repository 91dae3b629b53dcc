"""Searches in one process and in several, with KerasTuner's own chief and without trainings."""

import json
import socket
import threading
from dataclasses import replace

import pytest

from tuning.search import Search, _tuner, run_search
from tuning.space import load_space


@pytest.fixture
def search(tmp_path):
    return Search(
        space=load_space("quick"), base={"epochs": 1, "seed": 0}, data_dir=tmp_path,
        data_hash="", output_dir=tmp_path / "search", tuner="bayesian", objective="mean_f1",
        max_trials=4, max_failures=3, seed=0,
    )  # fmt: skip


@pytest.fixture
def become(monkeypatch):
    """Returns what makes this process a chief, or one that searches alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    chief = {"TUNER_ID": "chief", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": port}

    def change(role):
        for name, value in chief.items():
            monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)
            if role == "chief":
                monkeypatch.setenv(f"KERASTUNER_{name}", value)

    return change


def end(oracle, trial, status):
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"mean_f1": 0.5})
    trial.status = status
    oracle.end_trial(trial)


def with_a_worker(search, work):
    """Runs the search as a chief, and `work` with a client of it."""
    from keras_tuner.src.distribute.oracle_client import OracleClient

    worker = threading.Thread(target=lambda: work(OracleClient(None)), daemon=True)
    worker.start()
    try:
        run_search(search)
    finally:
        worker.join()


@pytest.mark.parametrize("roles", [("alone", "chief"), ("chief", "alone")])
def test_a_search_goes_on_in_one_process_or_several(search, become, roles):
    become(roles[0])
    before = _tuner(search, echo=False).oracle
    for _ in range(search.max_trials):
        end(before, before.create_trial("tuner0"), "COMPLETED")
    state = search.output_dir / "oracle" / "oracle.json"
    assert json.loads(state.read_text())["end_order"] == ["0", "1", "2", "3"]
    tried = {t.trial_id: t.hyperparameters.values for t in before.trials.values()}

    become(roles[1])
    told = []
    if roles[1] == "chief":
        with_a_worker(search, lambda chief: told.append(chief.create_trial("worker0").status))
    else:
        run_search(search)
    assert told == ["STOPPED"] * len(told)
    assert json.loads(state.read_text())["end_order"] == ["0", "1", "2", "3"]
    longer = _tuner(replace(search, max_trials=20), echo=False).oracle
    assert {t.trial_id: t.hyperparameters.values for t in longer.trials.values()} == tried
    assert {t.score for t in longer.trials.values()} == {0.5}
    fifth = longer.create_trial("tuner0")
    assert fifth.trial_id == "04"
    assert fifth.hyperparameters.values not in tried.values()
