"""What this process is to KerasTuner: the chief of a search, a worker, or neither."""

import os
from typing import TYPE_CHECKING

from landcover_tf.errors import ConfigError, RunError

if TYPE_CHECKING:
    import grpc

_VARIABLES = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")


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
