"""Searches in one process and in several, with KerasTuner's own chief and without trainings."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import grpc
import pytest
from fakes.free_ports import free_ports

from landcover_tf.errors import RunError
from tuning import distributed
from tuning.search import Search, _tuner, run_search
from tuning.space import load_space
from tuning.trials import read_records


@pytest.fixture(autouse=True)
def heard(monkeypatch):
    """What the chief waits for in place of some seconds: its workers have heard of the end."""
    event = threading.Event()

    def sleep(seconds):
        if seconds == distributed.FAREWELL_SECONDS:
            assert event.wait(60)
        else:
            time.sleep(0.05)

    monkeypatch.setattr(distributed, "time", SimpleNamespace(sleep=sleep))
    return event


@pytest.fixture
def search(tmp_path):
    return Search(
        space=load_space("quick"), base={"epochs": 1, "seed": 0}, data_dir=tmp_path,
        data_hash="", normalizer={}, output_dir=tmp_path / "search", tuner="bayesian",
        objective="mean_f1", max_trials=4, max_failures=3, seed=0,
    )  # fmt: skip


@pytest.fixture
def become(monkeypatch):
    """Returns what makes this process a chief, a worker, or one that searches alone."""
    (port,) = free_ports(1)
    own = {"TUNER_ID": "", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": str(port)}

    def change(role):
        for name, value in own.items():
            monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)
            if role != "alone":
                monkeypatch.setenv(f"KERASTUNER_{name}", role if name == "TUNER_ID" else value)

    return change


def end(oracle, trial, status):
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"mean_f1": 0.5})
    trial.status = status
    oracle.end_trial(trial)


@pytest.fixture
def with_a_worker(heard):
    """Returns what runs a search as a chief, and some work with a client of it."""
    from keras_tuner.src.distribute.oracle_client import OracleClient

    def run(search, work):
        def work_and_hear():
            try:
                work(OracleClient(None))
            finally:
                heard.set()

        heard.clear()
        worker = threading.Thread(target=work_and_hear, daemon=True)
        worker.start()
        try:
            run_search(search)
        finally:
            worker.join(60)

    return run


@pytest.mark.parametrize("roles", [("alone", "chief"), ("chief", "alone")])
def test_a_search_goes_on_in_one_process_or_several(search, become, with_a_worker, roles):
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
    assert told == ["STOPPED"] * (roles[1] == "chief")
    assert json.loads(state.read_text())["end_order"] == ["0", "1", "2", "3"]
    longer = _tuner(replace(search, max_trials=20), echo=False).oracle
    assert {t.trial_id: t.hyperparameters.values for t in longer.trials.values()} == tried
    assert {t.score for t in longer.trials.values()} == {0.5}
    fifth = longer.create_trial("tuner0")
    assert fifth.trial_id == "04"
    assert fifth.hyperparameters.values not in tried.values()


def test_hyperband_tells_what_it_will_train(search, become, capsys):
    become("alone")
    search = replace(search, tuner="hyperband", base={"epochs": 9, "seed": 0}, max_failures=1)
    with pytest.raises(
        RunError, match=r"1 trials failed in a row.* a larger --max-failures to go on"
    ):
        run_search(search)
    with pytest.raises(RunError, match="2 trials failed in a row"):
        run_search(replace(search, max_failures=2))
    assert len(read_records(search.trials)) == 2
    # 9 trials of 1 epoch, 3 of 3 and 1 of 9; 5 of 3 and 2 of 9; 3 of 9.
    said = "Hyperband trains 23 trials, 87 epochs in all, whatever --max-trials says"
    assert said in capsys.readouterr().out


def test_a_chief_gives_up_with_its_workers(search, become, with_a_worker):
    become("chief")
    said = []

    def told(ask, *arguments):
        with pytest.raises(grpc.RpcError) as error:
            ask(*arguments)
        said.append(error.value.details())

    def fail(chief):
        for _ in range(2):
            end(chief, chief.create_trial("worker0"), "FAILED")
        last, other = chief.create_trial("worker0"), chief.create_trial("worker1")
        told(end, chief, last, "FAILED")
        told(end, chief, other, "FAILED")  # That was in training.
        told(chief.create_trial, "worker2")  # That waited.

    with pytest.raises(RunError, match=r"^3 trials failed in a row; see .*search/trials"):
        with_a_worker(search, fail)
    assert len(said) == 3
    assert all("consecutive failures exceeded the limit of 3" in one for one in said)

    def succeed(chief):
        for _ in range(4):
            end(chief, chief.create_trial("worker0"), "COMPLETED")
        assert chief.create_trial("worker0").status == "STOPPED"

    # The next start tries all four again.
    assert (search.output_dir / "oracle" / "gave_up").exists()
    with_a_worker(search, succeed)
    assert not (search.output_dir / "oracle" / "gave_up").exists()
    become("alone")
    trials = _tuner(search, echo=False).oracle.trials
    assert {i: t.status for i, t in trials.items()} == dict.fromkeys("0123", "COMPLETED")


def test_a_second_chief_on_one_port_is_refused(search, become):
    become("chief")
    first = grpc.server(ThreadPoolExecutor(max_workers=1))
    first.add_insecure_port(distributed.chief_address())
    first.start()
    oracle = SimpleNamespace(failure=RuntimeError("it listens, too"))
    try:
        with pytest.raises(RuntimeError, match="Failed to bind to address") as refused:
            distributed.serve(oracle, search.output_dir)
    finally:
        first.stop(grace=None)
    assert "to a free port" in str(distributed.explained(refused.value))


def test_a_worker_hears_of_a_chief_that_gave_up_while_it_trained(search, become, heard, capsys):
    become("chief")
    oracle = _tuner(search, echo=False).oracle
    gave_up = search.output_dir / "oracle" / "gave_up"

    def serve():
        with pytest.raises(RuntimeError, match="for its end"):
            distributed.serve(oracle, gave_up)

    create_trial = oracle.create_trial

    def create_and_give_up(worker):
        trial = create_trial(worker)
        gave_up.touch()
        return trial

    oracle.create_trial = create_and_give_up
    become("worker0")
    chief = threading.Thread(target=serve, daemon=True)
    chief.start()
    # Its training fails within a second, and alone that would not end the search.
    with pytest.raises(RunError, match=r"3 trials failed in a row, the last with: .*dataset\.json"):
        run_search(search)
    assert capsys.readouterr().out.count("trial 0") == 1
    assert oracle.end_order == []
    heard.set()
    oracle.failure = RuntimeError("for its end")
    chief.join(60)
