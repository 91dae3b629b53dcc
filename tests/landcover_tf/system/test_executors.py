import os
import signal
import threading
import time
from concurrent.futures import Executor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from fakes.heeded_signals import heeded, send

from landcover_tf.errors import ConfigError, LandCoverError, OutputError
from landcover_tf.system.executors import (
    InProcessExecutor,
    executor,
    finished,
    places,
    result_of,
    run_jobs,
    submit,
)
from landcover_tf.system.signals import obeyed


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 2:
        raise OutputError("the disk is full")
    return number


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(folder: str) -> None:
    """Begins a file, and clears it away unless the process is killed."""
    file = Path(folder) / f"begun.{os.getpid()}"
    try:
        file.touch()
        time.sleep(60)
    finally:
        file.unlink()
        (Path(folder) / f"cleared.{os.getpid()}").touch()


def work_or_refuse(folder: str | None) -> None:
    """Makes a file some time after the next job has been refused."""
    if folder is None:
        raise OutputError("the disk is full")
    time.sleep(0.5)
    (Path(folder) / "made").touch()


def test_jobs_at_work_have_ended_where_an_error_of_another_arrives(tmp_path):
    with pytest.raises(OutputError), executor(2) as pool:
        run_jobs(pool, work_or_refuse, [str(tmp_path), None], label="refused")
    assert (tmp_path / "made").exists()


def test_one_job_runs_here_and_stops_at_the_first_error():
    with executor(1) as pool:
        assert isinstance(pool, InProcessExecutor)
        assert places(pool) == 1
        assert run_jobs(pool, square, [3, 1, 2], label="squares") == [9, 1, 4]
        assert set(run_jobs(pool, process_id, [1, 2], label="ids")) == {os.getpid()}
        assert pool.submit(square, 5).result() == 25
        with pytest.raises(OutputError, match="the disk is full"):
            run_jobs(pool, refuse, [1, 2, 3], label="refused")


def test_one_process_starts_a_job_when_the_one_before_is_dealt_with():
    log = []
    with finished(InProcessExecutor(), log.append, ["a", "b", "c"]) as done:
        for index, future in done:
            log.append(index)
            assert result_of(future) is None
            if index == 1:
                break
    assert log == ["a", 0, "b", 1]


def test_processes_are_others_and_results_keep_their_order():
    with executor(2) as pool:
        assert isinstance(pool, Executor)
        assert places(pool) == 2
        assert run_jobs(pool, square, list(range(20)), label="squares") == [
            n * n for n in range(20)
        ]
        assert os.getpid() not in run_jobs(pool, process_id, [1, 2], label="ids")
        with pytest.raises(OutputError, match="the disk is full"):
            run_jobs(pool, refuse, [1, 2, 3], label="refused")


def test_a_lost_process_is_explained():
    lost = pytest.raises(LandCoverError, match="died, most often because memory ran out")
    with lost, executor(2) as pool:
        run_jobs(pool, die, [1, 2], label="dying")
    # Or when the next job is handed over, where nobody waited for the one that was lost.
    with executor(2) as pool:
        assert isinstance(wait([pool.submit(die, 1)]).done.pop().exception(), BrokenProcessPool)
        with pytest.raises(LandCoverError, match="died, most often because memory ran out"):
            submit(pool, square, 3)


def test_processes_clear_away_what_they_have_begun_where_the_program_is_ended(tmp_path):
    def end_when_both_have_begun() -> None:
        deadline = time.monotonic() + 50
        while len(list(tmp_path.glob("begun.*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        # To this process alone, as `kill` and Docker do.
        send(signal.SIGTERM)

    with heeded(), pytest.raises(SystemExit, match="143"), obeyed(), executor(2) as pool:
        threading.Thread(target=end_when_both_have_begun, daemon=True).start()
        run_jobs(pool, linger, [str(tmp_path)] * 6, label="lingering")
    # No third job has begun.
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["cleared", "cleared"]


def test_settings_that_cannot_be_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="--jobs must be at least 1, got 0"), executor(0):
        pass
    monkeypatch.setattr("landcover_tf.system.executors.CONNECT_SECONDS", 1)
    nobody = "tcp://127.0.0.1:9"
    refused = pytest.raises(ConfigError, match=f"no Dask scheduler answers at {nobody}")
    with refused, executor(scheduler=nobody):
        pass


def die_once(path: str) -> int:
    """Kills the process of its first run."""
    from pathlib import Path

    killed = Path(path)
    if not killed.exists():
        killed.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_dask_runs_a_job_again_when_its_worker_is_killed(tmp_path):
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        executor(scheduler=cluster.scheduler_address) as pool,
    ):
        assert places(pool) == 2
        assert run_jobs(pool, square, [4, 5], label="squares") == [16, 25]
        (survivor,) = run_jobs(pool, die_once, [str(tmp_path / "killed")], label="dying")
    assert int((tmp_path / "killed").read_text()) != survivor


def test_a_job_that_kills_its_dask_workers_is_explained():
    import dask
    from distributed import LocalCluster

    lost = pytest.raises(LandCoverError, match="died, most often because memory ran out")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        lost,
        executor(scheduler=cluster.scheduler_address) as pool,
    ):
        run_jobs(pool, die, [1], label="dying")
