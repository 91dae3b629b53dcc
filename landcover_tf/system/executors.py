"""One way to run jobs: in this process, on a process pool, or on a Dask cluster.

A job is a function at the top level of a module and one argument that can be pickled. It writes
its result to a file under a name of its own, so that running it twice, which a cluster does when
it loses a worker, changes nothing.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from landcover_tf.errors import ConfigError, LandCoverError
from landcover_tf.system.progress import progress
from landcover_tf.system.signals import STOPPED, TerminatedError

Job = TypeVar("Job")
Result = TypeVar("Result")

CONNECT_SECONDS = 20
CLEARING_SECONDS = 8
"""Longest wait for the processes of a pool that was interrupted: `docker stop` waits for ten."""

_LOST_WORKER = (
    "a worker process died, most often because memory ran out; run the same command again with "
    "fewer --jobs or Dask workers of more memory (and --resume, if this program has that flag); a "
    'script that calls this must have its lines below `if __name__ == "__main__":`'
)


class InProcessExecutor(Executor):
    """Runs every job at once in the calling thread, for one process and for debugging."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def usable_cores() -> int:
    """Returns the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def executor(jobs: int | None = None, scheduler: str | None = None) -> Iterator[Executor]:
    """Yields a `concurrent.futures.Executor`; leaving the block waits for it or cancels it.

    Args:
        jobs: Processes; None is one per usable core, 1 runs in this process. Processes are
            spawned, never forked: TensorFlow and GDAL hold threads that do not survive a fork.
        scheduler: Address of a Dask scheduler (`tcp://host:8786`) or a scheduler file (.json)
            on a shared disk; `jobs` is then the cluster's business.

    Raises:
        ConfigError: `jobs` is below 1, Dask is not installed, or no scheduler answers.
    """
    if scheduler is not None:
        with _dask_executor(scheduler) as pool:
            yield pool
        return
    jobs = usable_cores() if jobs is None else jobs
    if jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {jobs}")
    if jobs == 1:
        yield InProcessExecutor()
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare_worker)
    try:
        yield pool
    except BaseException as error:
        inner: Any = pool  # The processes are told by no public name, and forgotten by `shutdown`.
        processes = list(inner._processes.values())
        # After an error jobs come to their ends, for the caller may clear away what they work on.
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        if not isinstance(error, Exception):
            _end(processes)
        raise
    pool.shutdown()


def places(pool: Executor) -> int:
    """Returns how many jobs an executor runs side by side; 0 while a cluster has no worker."""
    if isinstance(pool, InProcessExecutor):
        return 1
    inner: Any = pool  # Neither kind says it by a public name.
    if isinstance(pool, ProcessPoolExecutor):
        return int(inner._max_workers)
    return len(inner._client.nthreads())


def run_jobs(
    pool: Executor,
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    label: str,
    unit: str = "job",
) -> list[Result]:
    """Returns `function(job)` of every job, in the order of `jobs`, and shows progress.

    The first error cancels the jobs that have not begun.

    Raises:
        LandCoverError: A worker process was lost (a job's own errors pass unchanged).
    """
    results: dict[int, Result] = {}
    with finished(pool, function, jobs) as done:
        for index, future in progress(done, label=label, total=len(jobs), unit=unit):
            results[index] = result_of(future)
    return [results[index] for index in range(len(jobs))]


@contextmanager
def finished(
    pool: Executor, function: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Iterator[tuple[int, "Future[Result]"]]]:
    """Yields an iterator over (index of the job, its future) as jobs finish.

    In this process a job starts when it is asked for. Leaving the block cancels the jobs that
    have not begun.
    """
    if isinstance(pool, InProcessExecutor):
        yield ((index, pool.submit(function, job)) for index, job in enumerate(jobs))
        return
    futures = {submit(pool, function, job): index for index, job in enumerate(jobs)}
    try:
        yield ((futures[future], future) for future in as_completed(futures))
    finally:
        for future in futures:
            future.cancel()


def submit(pool: Executor, function: Callable[[Job], Result], job: Job) -> "Future[Result]":
    """Hands a job to a pool, which may have lost a worker since the last one.

    Raises:
        LandCoverError: A worker process was lost.
    """
    try:
        if isinstance(pool, ProcessPoolExecutor):
            return pool.submit(_work, function, job)
        return pool.submit(function, job)
    except _lost_worker_errors() as error:
        raise LandCoverError(_LOST_WORKER) from error


def result_of(future: "Future[Result]") -> Result:
    """Returns a finished job's result.

    Raises:
        LandCoverError: Its worker process was lost (the job's own errors pass unchanged).
    """
    try:
        return future.result()
    except _lost_worker_errors() as error:
        raise LandCoverError(_LOST_WORKER) from error


def _lost_worker_errors() -> tuple[type[Exception], ...]:
    # Dask's error, after the job has taken several workers with it, is known only where Dask runs.
    dask = sys.modules.get("distributed")
    return (BrokenProcessPool,) if dask is None else (BrokenProcessPool, dask.KilledWorker)


@contextmanager
def _dask_executor(scheduler: str) -> Iterator[Executor]:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            f"--scheduler {scheduler} needs Dask; install landcover-tf[dask]"
        ) from error
    where = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    # Dask has no type annotations.
    new_client: Any = distributed.Client
    try:
        client = new_client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client, client.get_executor(pure=False) as pool:
        yield pool


def _end(processes: Sequence[Any]) -> None:
    """Ends a pool's processes, whose jobs may clear away what they have begun."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + CLEARING_SECONDS
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
        process.kill()


def _prepare_worker() -> None:
    """Makes a pool's process end with its parent, whatever ends that, and on a signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


_at_work = threading.Event()
"""Set in a pool's process while it runs a job."""


def _work(function: Callable[[Job], Result], job: Job) -> Result:
    """Runs a job in a pool's process, which ends with it where a signal interrupts it."""
    _at_work.set()
    try:
        return function(job)
    except TerminatedError:
        os._exit(STOPPED)
    finally:
        _at_work.clear()


def _leave(number: int, frame: FrameType | None) -> None:
    # A terminal, a batch system and the process above may all say it.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    if not _at_work.is_set():
        os._exit(STOPPED)
    raise TerminatedError
