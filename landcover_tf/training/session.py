"""One training session: from the config to a finished (or interrupted) run folder."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from landcover_tf.configs import config_files
from landcover_tf.errors import OutputError, RunError
from landcover_tf.model_spec import ModelSpec, joined_skips
from landcover_tf.run_folder import FINISHED, RunFolder
from landcover_tf.system import locks, provenance
from landcover_tf.system.files import (
    KnownHashes,
    full_disk_told,
    read_json,
    write_json,
    write_text,
)
from landcover_tf.system.quiet import settle_onednn
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import Built, build
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices, choose_devices
from landcover_tf.training.faults import explained
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.learning_curves import learning_curves
from landcover_tf.training.loop import Loop
from landcover_tf.training.model_card import model_card
from landcover_tf.training.preflight import (
    Preflight,
    augmentation_doubt,
    check,
    loss_doubt,
    tell_finished,
    write_settings,
)
from landcover_tf.training.state import Progress, best_row, remove_partial
from landcover_tf.training.training_log import TensorBoardLog
from landcover_tf.visuals.figures import save_figure

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
        config: Of the run; Keras has been started, and pretrained weights by name been fetched.

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
            begun = ModelSpec.load(found.run.model_spec) if resume else None
            built = build(config, found.info, devices, begun=begun)
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


@dataclass(frozen=True, kw_only=True)
class Session:
    """A training that is about to begin or to go on, and what its run folder is told of it."""

    config: TrainConfig
    found: Preflight
    built: Built
    batches: Batches
    devices: Devices
    resume: bool
    """Whether the run folder holds a state to go on from."""

    def run(self) -> int:
        """Trains, fills the run folder, and returns the exit code."""
        if self.devices.chief:
            remove_partial(self.found.run.state, self.found.run.best_weights)
            self._describe()
        log = self._open_log()
        loop = Loop(
            self.config, self.built.stepper, self.batches, self.devices, self.found.run, log=log
        )
        if self.resume:
            loop.restore()
            place = loop.progress
            print(f"continuing at epoch {place.epoch + 1}, step {place.step + 1}", flush=True)
        start = time.monotonic()
        try:
            with StopRequest() as stop:
                complete = loop.train(stop)
        finally:
            if log is not None:
                log.close()
        if self.devices.chief:
            self._record(loop.progress, complete=complete, seconds=time.monotonic() - start)
        return 0 if complete else stop.exit_code

    def _describe(self) -> None:
        """Tells what the run is before it begins, so that an interrupted run explains itself."""
        write_settings(self.config, self.found)
        self.built.spec.save(self.found.run.model_spec)
        if self.built.pretrained is not None:
            write_json(self.found.run.pretrained, asdict(self.built.pretrained))
        print(self._announcement(), flush=True)
        for doubt in (augmentation_doubt(self.found), loss_doubt(self.config)):
            if doubt is not None:
                print(f"warning: {doubt}", file=sys.stderr, flush=True)

    def _open_log(self) -> TensorBoardLog | None:
        if not (self.config.tensorboard and self.devices.chief):
            return None
        info = self.found.info
        log = TensorBoardLog(
            self.found.run.tensorboard, info.legend, info.band_names, info.usual_range
        )
        log.settings(config_files.config_dict(self.config))
        return log

    def _record(self, progress: Progress, *, complete: bool, seconds: float) -> None:
        """Writes the history and the summary, and at the end what goes with a finished run."""
        run = self.found.run
        if complete and progress.best_epoch is None:
            raise RunError(
                f"no epoch of {run.path} had a validation score; check that the validation split "
                "has usable labelled pixels"
            )
        summary = self._summary(progress, complete=complete, seconds=seconds)
        run.write_history(progress.history)
        if complete:
            self._finish(progress, summary)
        else:
            print(f"stopped on request; the same command continues the run in {run.path}")
        # Last, because its status is what tells a finished run.
        write_json(run.summary, summary)

    def _finish(self, progress: Progress, summary: dict[str, Any]) -> None:
        """Writes the pictures and the model card."""
        run = self.found.run
        if self.config.learning_curves:
            curves = learning_curves(progress.history, progress.best_epoch)
            save_figure(curves, run.learning_curves)
        write_text(run.model_card, model_card(summary, self.found.info))
        test = self.found.info.splits.get("test")
        split = "" if test is not None and test.records else " --split val"
        print(
            f"finished: best epoch {progress.best_epoch} with validation {self.config.monitor} "
            f"{abs(progress.best or 0):.4f}; score it with "
            f"`landcover evaluate --run-dir {run.path}{split}`"
        )

    def _summary(self, progress: Progress, *, complete: bool, seconds: float) -> dict[str, Any]:
        """Returns what `run.json` holds."""
        built, devices = self.built, self.devices
        return {
            "status": FINISHED if complete else "interrupted",
            "config": config_files.config_dict(self.config),
            "dataset": self.found.info.name,
            "data_hash": self.found.info.data_hash,
            "encoder_weights": built.encoder_weights,
            "pretrained": self._pretrained(),
            "class_weights": built.class_weights,
            "precision": built.precision,
            "jit": built.jit,
            "devices": {"replicas": devices.replicas, "workers": devices.workers},
            "parameters": built.stepper.model.count_params(),
            "steps_per_epoch": self.batches.steps,
            "epochs": progress.epoch,
            "stopped_early": progress.stopped,
            "monitor": self.config.monitor,
            "best_epoch": progress.best_epoch,
            "scores": best_row(self.found.run.best_weights, progress),
            "session_seconds": round(seconds, 1),
            "peak_memory_bytes": _peak_memory_bytes(),
            "git_commit": provenance.git_commit(),
            "software": provenance.software_versions(),
            "hardware": provenance.hardware() | {
                "gpus": [_gpu_name(gpu) for gpu in tf.config.list_physical_devices("GPU")]
            },
        }  # fmt: skip

    def _pretrained(self) -> dict[str, Any] | None:
        """Returns what the encoder began with, in whichever session that was."""
        path = self.found.run.pretrained
        return read_json(path) if path.is_file() else None

    def _announcement(self) -> str:
        config, info, built = self.config, self.found.info, self.built
        spec = built.spec
        skips = joined_skips(spec.skip_connections, spec.encoder_depth)
        lines = [
            f"{config.model} U-Net of {spec.encoder_depth} stages with {skips} skip(s), "
            f"{built.stepper.model.count_params() / 1e6:.1f} million parameters, "
            f"{len(info.bands)} bands, {len(info.legend.classes)} classes; encoder "
            f"{built.encoder_weights}, learning-rate factor {config.encoder_factor:g}",
            f"{info.split('train').records} training and {info.split('val').records} validation "
            f"patches; {self.batches.steps} steps per epoch on {self.devices.replicas} device(s), "
            f"{built.precision}{', XLA' if built.jit else ''}",
        ]
        if built.class_weights is not None:
            pairs = zip(info.legend.names, built.class_weights, strict=True)
            lines.append("class weights: " + ", ".join(f"{n} {w:.2f}" for n, w in pairs))
        return "\n".join(lines)


def _gpu_name(gpu: Any) -> str:
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024
