"""What a search and its trainings do about SIGTERM and Ctrl-C."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.heeded_signals import heeded, send
from fakes.small_dataset import write_small_dataset

from landcover_tf.system.signals import INTERRUPTED, STOPPED, obeyed
from tuning import __main__ as tune
from tuning import experiments
from tuning.stopping import run_training

# As a training, it saves before it ends: until it is told to, which is after the 0.25 s that
# Python's own functions wait.
SAVING = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # One before sigwait is not lost.
print("begun", flush=True)
signal.sigwait([signal.SIGTERM])
print("saving", flush=True)
sys.stdin.readline()
print("saved")
"""


@pytest.fixture(autouse=True)
def _interruptible():
    """Ctrl-C counts, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with heeded():
        yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def training():
    """A training that has begun."""
    # In a session of its own, it is not interrupted as one in a terminal would be.
    process = subprocess.Popen([sys.executable, "-c", SAVING], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
    with process:
        try:
            assert process.stdout.readline() == b"begun\n"
            yield process
        finally:
            process.kill()


def run_while(training: subprocess.Popen, act: Callable[[], None]) -> int:
    """Returns what `run_training` does, with `act` in another thread from its start on."""
    thread = threading.Thread(target=act)

    def start() -> subprocess.Popen:
        thread.start()
        return training

    try:
        return run_training(start)
    finally:
        thread.join()


def test_an_interrupted_training_may_save(training):
    def act() -> None:
        send(signal.SIGINT)
        assert training.stdout.readline() == b"saving\n"
        training.stdin.close()

    assert run_while(training, act) == INTERRUPTED
    assert training.stdout.read() == b"saved\n"


def test_a_second_interrupt_kills_the_training(training):
    def interrupt_again() -> None:
        send(signal.SIGINT)
        training.stdout.readline()
        send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_while(training, interrupt_again)
    assert training.returncode == -signal.SIGKILL


def test_sigterm_lets_a_training_save_however_often_it_comes(training):
    def terminate() -> None:
        send(signal.SIGTERM)
        assert training.stdout.readline() == b"saving\n"
        send(signal.SIGTERM)
        training.stdin.close()

    before = signal.getsignal(signal.SIGTERM)
    with obeyed():
        assert run_while(training, terminate) == STOPPED
    assert training.stdout.read() == b"saved\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_between_two_trainings_ends_the_program():
    with pytest.raises(SystemExit, match="143"), obeyed():
        send(signal.SIGTERM)


def test_a_signal_at_the_start_of_a_training_does_not_leave_it_behind(training):
    def start() -> subprocess.Popen:
        send(signal.SIGTERM)
        training.stdin.close()
        return training

    with obeyed():
        assert run_training(start) == STOPPED
    assert training.returncode == 0


TRAINING = """#!{python}
import signal, sys, time
from pathlib import Path
folder = Path(sys.argv[-1]).parent
def save(*_):
    time.sleep(0.3)
    (folder / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
(folder / "begun").touch()
time.sleep(60)
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Trainings that begin, wait for SIGTERM and save."""
    path = tmp_path / "python"
    path.write_text(TRAINING.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    # Here only: multiprocessing keeps what it finds in sys at its first import.
    monkeypatch.setattr("tuning.trials.sys", SimpleNamespace(executable=str(path)))


def interrupt_when_begun(number: int, *folders: Path) -> None:
    """Sends this process a signal once the trainings in these folders have begun."""

    def wait() -> None:
        end = time.monotonic() + 100
        while time.monotonic() < end:
            if all((folder / "begun").exists() for folder in folders):
                return send(number)
            time.sleep(0.05)

    threading.Thread(target=wait, daemon=True).start()


SETTINGS = {"encoder_weights": "none", "patch_size": 32, "patch_overlap": 0, "batch_size": 2}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_experiments_that_are_stopped_have_saved(tmp_path, stub, number):
    write_small_dataset(tmp_path / "data")
    names = ("a", "b", "c")
    listed = {"common": SETTINGS, "experiments": [{"name": name} for name in names]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    output = tmp_path / "out"
    interrupt_when_begun(number, output / "a", output / "b")
    code = experiments.main([
        "--experiments", str(tmp_path / "list.json"), "--data-dir", str(tmp_path / "data"),
        "--output-dir", str(output), "--jobs", "2",
    ])  # fmt: skip
    assert code == {signal.SIGTERM: STOPPED, signal.SIGINT: INTERRUPTED}[number]
    assert [(output / name / "saved").exists() for name in names] == [True, True, False]
    assert not list(output.glob("*/trial.json"))


def search_flags(tmp_path: Path) -> list[str]:
    write_small_dataset(tmp_path / "data")
    (tmp_path / "space.json").write_text('{"search": {"lr": {"choices": [0.1, 0.2]}}}')
    (tmp_path / "base.json").write_text(json.dumps(SETTINGS))
    values = {"data-dir": "data", "output-dir": "out", "space": "space.json",
              "train-config": "base.json"}  # fmt: skip
    return [word for name, value in values.items() for word in (f"--{name}", str(tmp_path / value))]


def test_a_search_that_is_stopped_has_saved_its_trial(tmp_path, stub):
    arguments = search_flags(tmp_path)
    trial = tmp_path / "out" / "trials" / "00"
    interrupt_when_begun(signal.SIGTERM, trial)
    assert tune.main(arguments) == STOPPED
    assert (trial / "saved").exists() and not (trial / "trial.json").exists()
    state = json.loads((tmp_path / "out" / "oracle" / "oracle.json").read_text())
    assert list(state["ongoing_trials"].values()) == ["00"]


@pytest.mark.slow
def test_a_parallel_search_that_is_stopped_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "tuning", *search_flags(tmp_path), "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True)
    trials = tmp_path / "out" / "trials"
    while process.poll() is None and not list(trials.glob("*/train.log")):
        time.sleep(0.1)
    process.terminate()
    assert process.wait() == STOPPED
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not list(trials.glob("*/trial.json"))
