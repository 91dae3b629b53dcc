"""How a training starts: the machine is asked, the folder locked, the network built."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import keras
import tensorflow as tf

from landcover_tf.errors import OutputError, RunError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system import locks
from landcover_tf.system.files import KnownHashes, full_disk_told
from landcover_tf.system.quiet import settle_onednn
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import build
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices, choose_devices
from landcover_tf.training.faults import explained
from landcover_tf.training.preflight import Preflight, check, tell_finished
from landcover_tf.training.session import Session

SPLITS = ("train", "val")
"""What a training reads."""

_MEMORY_ADVICE = (
    "lower --batch-size (and raise --gradient-accumulation to keep the effective batch), "
    "--patch-size or --model, or use --mixed-precision float16; where the dataset has patches far "
    "larger than --patch-size, build it with smaller ones, for whole records wait in memory"
)


def train(config: TrainConfig) -> int:
    """Trains, or continues the run that the folder holds, and returns the exit code.

    0 when the training is complete, 143 or 130 when it was asked to stop.

    Args:
        config: Settings of the run; Keras is started, and pretrained weights by name are fetched.

    Raises:
        LandCoverError: The input, the settings or the machine do not allow it.
    """
    run = RunFolder(config.output_dir)
    devices = choose_devices(config.strategy)
    told = explained(
        config.data_dir, splits=SPLITS, memory_advice=_MEMORY_ADVICE, workers=devices.workers
    )
    with told, full_disk_told(run.path):
        # Not 0: tf.data cannot combine a global seed of 0 with a seed computed in the graph.
        keras.utils.set_random_seed(1 + config.seed)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        settle_onednn()
        with _alone(run, devices):
            # Only now: another process may have done something before it let go.
            found = check(config)
            if devices.any_worker(found.finished):
                tell_finished(found.run)
                return 0
            resume = _resumes(found, devices)
            # Before the shards are read, which takes minutes where they are many.
            built = build(config, found.info, devices, resume=resume)
            _verify(config, found, devices)
            session = Session(
                config=config,
                found=found,
                devices=devices,
                resume=resume,
                built=built,
                batches=Batches(config, found.info, devices),
            )
            return session.run()


@contextmanager
def _alone(run: RunFolder, devices: Devices) -> Iterator[None]:
    """Lets the chief hold the run folder; all workers are refused where it is.

    Raises:
        OutputError: Another process trains in the folder.
    """
    busy = f"another process trains in {run.path}; wait for its end, or choose another --output-dir"
    refusal = None
    with ExitStack() as stack:
        if devices.chief:
            try:
                stack.enter_context(locks.alone(run.lock, busy))
            except OutputError as error:
                refusal = error
        if devices.any_worker(refusal is not None):
            raise refusal or OutputError(busy)
        yield


def _resumes(found: Preflight, devices: Devices) -> bool:
    """Returns whether there is a state to go on from; all workers must see the same."""
    resume = found.run.state.is_file()
    if devices.any_worker(resume) and devices.any_worker(not resume):
        raise RunError(
            f"only some of the workers find {found.run.state}; --output-dir must be one folder "
            "that all workers share"
        )
    return resume


def _verify(config: TrainConfig, found: Preflight, devices: Devices) -> None:
    """Refuses damaged shards; what was read of the others is known to the next start.

    Raises:
        DatasetError: There are some.
    """
    hashes = KnownHashes(found.run.shard_hashes)
    try:
        found.info.verify(config.data_dir, splits=SPLITS, hashes=hashes)
    finally:
        if devices.chief:
            hashes.save()
