"""The processes of a parallel search, watched until they end."""

import subprocess
import sys

import pytest

from landcover_tf.errors import RunError
from tuning.workers import watch


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
