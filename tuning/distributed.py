"""What this process is to KerasTuner: the chief of a search, a worker, or neither."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_tf.errors import ConfigError, RunError

if TYPE_CHECKING:
    import grpc

_VARIABLES = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
FAREWELL_SECONDS = 5.0
"""How long a chief answers after the end, for workers that wait for a trial to hear of it."""


def require_whole_environment() -> None:
    """Refuses an environment with some of KerasTuner's variables and not all.

    Raises:
        ConfigError: One is missing or empty, and another is set.
    """
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing and any(name in os.environ for name in _VARIABLES):
        raise ConfigError(
            f"the environment lacks {' and '.join(missing)}: each process of a search in several "
            f"needs {', '.join(_VARIABLES)}; set what is missing, or unset the others to search "
            "in this process alone"
        )


def is_distributed() -> bool:
    """Returns whether KerasTuner's environment makes this process a chief or a worker."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def is_worker() -> bool:
    """Returns whether KerasTuner's environment makes this process a worker of a chief."""
    return is_distributed() and "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief")


def chief_address() -> str:
    """Returns where the chief listens, `host:port`."""
    port = os.environ.get("KERASTUNER_ORACLE_PORT")
    return f"{os.environ.get('KERASTUNER_ORACLE_IP')}:{port}"


def serve(oracle: Any, gave_up: Path) -> None:
    """Hands out an oracle's trials to workers until the search is complete or gives up.

    KerasTuner 1.4.8's own chief never ends a search that gives up.

    Args:
        oracle: One of `oracles`.
        gave_up: File to make when too many trials failed in a row, for workers that still train.

    Raises:
        RuntimeError: Too many trials failed in a row, or nothing can listen at the address.
    """
    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer, exit_chief

    gave_up.unlink(missing_ok=True)
    # By default two chiefs may listen on one port, and each gets some of the other's workers.
    alone = (("grpc.so_reuseport", 0),)
    server = grpc.server(ThreadPoolExecutor(max_workers=1), options=alone)
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    server.add_insecure_port(chief_address())
    server.start()
    while not (oracle.failure or (servicer.stop_triggered and exit_chief(oracle))):
        time.sleep(1.0)
    if oracle.failure:
        gave_up.touch()
    time.sleep(FAREWELL_SECONDS)
    server.stop(grace=FAREWELL_SECONDS).wait()
    if oracle.failure:
        raise oracle.failure


def explained(error: "RuntimeError | grpc.RpcError") -> RunError | None:
    """Returns what to tell of an error between chief and worker, None of any other."""
    import grpc

    if isinstance(error, grpc.RpcError):
        if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
            return None
        return RunError(
            f"the chief of the search at {chief_address()} does not answer ({error.details()}); "
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT must be those of the process with "
            "KERASTUNER_TUNER_ID=chief, and it must run; then start this worker again"
        )
    if not is_distributed():
        return None
    return RunError(
        f"the chief of the search cannot listen at {chief_address()} ({error}); set "
        "KERASTUNER_ORACLE_IP to an address of this machine and KERASTUNER_ORACLE_PORT to a free "
        "port, the same for the workers"
    )
