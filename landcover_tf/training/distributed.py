"""Where training runs: one device, all GPUs of a host, or the hosts that TF_CONFIG names."""

import json
import os
from typing import Literal

import tensorflow as tf

from landcover_tf.errors import ConfigError

StrategyKind = Literal["auto", "single", "mirrored", "multi-worker"]


class Devices:
    """A distribution strategy and this process's part in it.

    Attributes:
        strategy: Runs the steps.
        workers: Processes that train together.
        chief: This process writes the run folder; the others only compute.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, workers: int = 1, chief: bool = True
    ) -> None:
        self.strategy = strategy
        self.workers = workers
        self.chief = chief
        self._sum = tf.function(
            lambda values: strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)
        )

    @property
    def replicas(self) -> int:
        """Devices that train together."""
        return int(self.strategy.num_replicas_in_sync)

    def any_worker(self, flag: bool) -> bool:
        """Returns whether any worker says so; all workers must ask at the same step."""
        if self.workers == 1:
            return flag
        # A plain tensor would be taken to be the same everywhere and not be sent.
        flags = self.strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(int(flag))
        )
        return bool(self._sum(flags) > 0)


def choose_devices(kind: StrategyKind) -> Devices:
    """Returns the strategy; call it before any other TensorFlow operation of the process.

    `auto` follows TF_CONFIG if it names several workers, otherwise takes all GPUs.

    Raises:
        ConfigError: TF_CONFIG is malformed, its workers cannot be joined, or several hosts were
            asked for without it.
    """
    task = _task()
    if kind == "multi-worker" and task is None:
        raise ConfigError(
            "--strategy multi-worker needs the environment variable TF_CONFIG with the "
            'addresses of several workers: {"cluster": {"worker": ["host1:2222", '
            '"host2:2222"]}, "task": {"type": "worker", "index": 0}}'
        )
    if kind in ("auto", "multi-worker") and task is not None:
        workers, index = task
        return Devices(_multi_worker_strategy(), workers, index == 0)
    gpus = tf.config.list_logical_devices("GPU")
    if kind == "mirrored" or (kind == "auto" and len(gpus) > 1):
        names = [d.name for d in gpus or tf.config.list_logical_devices("CPU")]
        if "TF_CONFIG" in os.environ:
            # The strategy reads it itself, and fails on one that is empty.
            del os.environ["TF_CONFIG"]
        return Devices(tf.distribute.MirroredStrategy(names))
    return Devices(tf.distribute.get_strategy())


def _multi_worker_strategy() -> tf.distribute.Strategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        values = json.loads(os.environ["TF_CONFIG"])
        index = int(values["task"]["index"])
        raise ConfigError(
            f"cannot serve as worker {index} of TF_CONFIG at {values['cluster']['worker'][index]} "
            f"({error.message.splitlines()[0]}); another program may have its port: end that, or "
            "name another port in TF_CONFIG on all workers"
        ) from error


def _task() -> tuple[int, int] | None:
    """Returns the number of workers and this one's index, None for a single process."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        values = json.loads(text)
        workers = list(values["cluster"]["worker"])
        kind, index = values["task"]["type"], int(values["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the environment variable TF_CONFIG is malformed: {error!r}") from error
    if set(values["cluster"]) != {"worker"} or kind != "worker" or not 0 <= index < len(workers):
        raise ConfigError(
            "TF_CONFIG must name workers only, and this process as one of them; parameter "
            "servers, chiefs and evaluators are not supported"
        )
    return (len(workers), index) if len(workers) > 1 else None
