"""The processes of a parallel search, watched until they end."""

import json
import re
import socket
import subprocess
import sys

import pytest

from landcover_tf.errors import RunError
from tuning import __main__ as tune
from tuning.devices import environments
from tuning.workers import process_environments, watch


def ended(code):
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    return process


@pytest.fixture
def chief():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_workers_that_failed_at_the_same_moment_are_noticed(chief):
    with pytest.raises(RunError, match="worker0 of the search ended with exit code 2"):
        watch({"chief": chief, "worker0": ended(2), "worker1": ended(2)})


def test_a_chief_that_ends_with_an_error_is_noticed():
    with pytest.raises(RunError, match="chief of the search ended with exit code 1"):
        watch({"chief": ended(1), "worker0": ended(0)})


def test_the_chief_need_not_have_ended(chief):
    watch({"chief": chief, "worker0": ended(0), "worker1": ended(0)})
    assert chief.poll() is None


@pytest.mark.parametrize(
    ("visible", "parts", "expected"),
    [
        ("0,1,2", 2, ["0", "1"]),  # As many for each.
        ("4, GPU-8932f937,6,7", 2, ["4,GPU-8932f937", "6,7"]),
        ("0,1", 1, [None]),
        ("0", 2, [None, None]),
        ("1,-1,2", 2, [None, None]),  # CUDA shows the first alone.
        ("", 2, [None, None]),
    ],
)
def test_trainings_at_a_time_see_gpus_of_their_own(monkeypatch, visible, parts, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = environments(parts)
    assert [one.get("CUDA_VISIBLE_DEVICES") for one in found] == expected
    shared = parts > 1 and expected[0] is None
    assert all(("TF_FORCE_GPU_ALLOW_GROWTH" in one) == shared for one in found)


def test_every_process_has_its_name_and_its_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    found = process_environments(2, 1234)
    assert {name: one["CUDA_VISIBLE_DEVICES"] for name, one in found.items()} == {
        "chief": "", "worker0": "2", "worker1": "3"
    }  # fmt: skip
    for name, one in found.items():
        assert (one["KERASTUNER_TUNER_ID"], one["KERASTUNER_ORACLE_PORT"]) == (name, "1234")


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("chief", "", r"the chief of the search cannot listen at 127\.0\.0\.1:{port} \(.*\)"),
        ("worker1", "asking the chief at 127.0.0.1:{port} for trials, waiting",
         r"the chief of the search at 127\.0\.0\.1:{port} does not answer \(.*\)"),
    ],
)  # fmt: skip
def test_an_address_without_a_chief_is_told(
    small_dataset, tmp_path, monkeypatch, capsys, name, said, message
):
    from keras_tuner.src.distribute import oracle_client

    monkeypatch.setattr(oracle_client, "TIMEOUT", 1)
    space = {"search": {"lr": {"choices": [1e-3, 2e-3]}}, "fixed": {"patch_size": 32}}
    (tmp_path / "space.json").write_text(json.dumps(space))
    with socket.create_server(("127.0.0.1", 0)) as other:  # Another program's port, no chief's.
        port = other.getsockname()[1]
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        folders = ["--data-dir", str(small_dataset), "--output-dir", str(tmp_path / "search")]
        assert tune.main([*folders, "--space", str(tmp_path / "space.json")]) == 2
    printed = capsys.readouterr()
    assert said.format(port=port) in printed.out
    (line,) = printed.err.splitlines()
    assert re.match("error: " + message.format(port=port), line)
    assert "KERASTUNER_ORACLE_IP" in line and "KERASTUNER_ORACLE_PORT" in line


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"ORACLE_IP": "127.0.0.1", "TUNER_ID": "chief"}, "KERASTUNER_ORACLE_PORT:"),
        ({"ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "8000"}, "KERASTUNER_TUNER_ID:"),
        ({"TUNER_ID": "worker0"}, "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT:"),
    ],
)
def test_a_forgotten_variable_is_named_before_a_folder_is_made(
    small_dataset, tmp_path, monkeypatch, capsys, given, missing
):
    (tmp_path / "space.json").write_text(json.dumps({"search": {"lr": {"choices": [1e-3, 2e-3]}}}))
    for name, value in given.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    folders = ["--data-dir", str(small_dataset), "--output-dir", str(tmp_path / "search")]
    assert tune.main([*folders, "--space", str(tmp_path / "space.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the environment lacks {missing}")
    assert not (tmp_path / "search").exists()
