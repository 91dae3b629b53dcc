"""What this process is to KerasTuner: the chief of a search, a worker, or neither."""

import os
from typing import TYPE_CHECKING

from landcover_tf.errors import RunError

if TYPE_CHECKING:
    import grpc


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
