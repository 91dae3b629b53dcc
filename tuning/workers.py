"""Several trials at once: KerasTuner's chief hands them out to worker processes over gRPC.

Across machines, start the same command on each with KerasTuner's three variables
(KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT) and a shared output folder;
`--workers N` does that for this machine.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from landcover_tf.errors import RunError
from landcover_tf.system.signals import held_back
from tuning.devices import environments

POLL_SECONDS = 1.0


def run_workers(arguments: Sequence[str], workers: int) -> None:
    """Runs a chief and workers of `python -m tuning arguments` until the search is complete.

    Args:
        arguments: Flags of the search, without `--workers`.
        workers: Trials at a time.

    Raises:
        RunError: A process failed; the others are ended, and the same command goes on.
    """
    command = [sys.executable, "-m", "tuning", *arguments]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        with held_back():
            for name, own in process_environments(workers, _free_port()).items():
                processes[name] = subprocess.Popen(command, env=os.environ | own)
        watch(processes)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()
        for process in processes.values():
            process.wait()


def process_environments(workers: int, port: int) -> dict[str, dict[str, str]]:
    """Returns what to add to the environment of each process, by name.

    Args:
        workers: Trials at a time.
        port: Where the chief listens.
    """
    # The chief proposes and computes nothing on a GPU.
    own = {"chief": {"CUDA_VISIBLE_DEVICES": ""}}
    own |= {f"worker{number}": gpus for number, gpus in enumerate(environments(workers))}
    return {
        name: gpus
        | {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
        }
        for name, gpus in own.items()
    }


def watch(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Returns when every worker is done; the chief itself stays some seconds longer.

    Raises:
        RunError: A process failed.
    """
    working = True
    while working:
        # Asked before the exit codes, or those of the last moment would go unseen.
        working = any(p.poll() is None for name, p in processes.items() if name != "chief")
        for name, process in processes.items():
            if process.poll():
                raise RunError(
                    f"{name} of the search ended with exit code {process.returncode}; what it "
                    "printed is above, and the same command goes on with the search"
                )
        if working:
            time.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
