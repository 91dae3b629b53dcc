"""What TensorFlow says when memory, a shard or another host fails, in words that help."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.errors import ConfigError, DatasetError, RunError
from landcover_tf.system.progress import progress

# XLA and cuDNN report exhausted memory as internal errors.
_OUT_OF_MEMORY = re.compile(
    r"\boom\b|out of memory|resource.?exhausted|cudnn.*alloc", re.IGNORECASE
)
_FILE_ERRORS = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


@contextmanager
def explained(
    data_dir: Path, *, splits: Collection[str], memory_advice: str, workers: int = 1
) -> Iterator[None]:
    """Inside the `with` block, errors of TensorFlow that a user can act on are told as ours.

    Args:
        data_dir: Where the shards are.
        splits: Those that are read inside.
        memory_advice: What lowers the need of memory.
        workers: Processes that train together.

    Raises:
        ConfigError: Memory is exhausted.
        DatasetError: A shard cannot be read; where a record is damaged, names shard and record.
        RunError: Another worker was lost.
    """
    try:
        yield
    except (tf.errors.OpError, MemoryError) as error:
        reason = str(getattr(error, "message", error)).splitlines()
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            raise ConfigError(f"out of memory; {memory_advice}") from error
        if isinstance(error, tf.errors.DataLossError):
            _read_all(data_dir, splits)
        if isinstance(error, _FILE_ERRORS):
            raise DatasetError(
                f"a file cannot be read or is damaged ({reason[0]}); check the shards with "
                f"`landcover validate {data_dir}`"
            ) from error
        if workers > 1 and isinstance(error, _LOST):
            raise RunError(
                f"the connection to another worker was lost ({reason[0]}); start all workers "
                "again with the same command, and the training goes on from its last state"
            ) from error
        raise


def _read_all(data_dir: Path, splits: Collection[str]) -> None:
    """Reads the shards of some splits, because TensorFlow's error names neither shard nor record.

    Raises:
        DatasetError: A record is damaged; names shard and record.
    """
    info = DatasetInfo.load(data_dir)
    read = [shard for name in splits if name in info.splits for shard in info.splits[name].shards]
    for shard in progress(read, label="looking for the damaged record", unit="shard"):
        path = data_dir / shard.file
        # One that is absent is not what TensorFlow found damaged.
        for _ in read_records(path, info.compression) if path.is_file() else ():
            pass
