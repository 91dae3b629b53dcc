"""One session of a training: from its first step to a finished (or interrupted) run folder."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from landcover_tf.configs import config_files
from landcover_tf.errors import RunError
from landcover_tf.model_spec import joined_skips
from landcover_tf.run_folder import FINISHED
from landcover_tf.system import provenance
from landcover_tf.system.files import read_json, write_json, write_text
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import Built
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices
from landcover_tf.training.doubts import doubts
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.learning_curves import learning_curves
from landcover_tf.training.loop import Loop
from landcover_tf.training.model_card import model_card
from landcover_tf.training.preflight import Preflight, write_settings
from landcover_tf.training.state import Progress, best_row, remove_partial
from landcover_tf.training.training_log import TensorBoardLog
from landcover_tf.visuals.figures import save_figure


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
        found, batches = self.found, self.batches
        for doubt in doubts(
            self.config,
            found.info,
            found.augmentation,
            patches=batches.plan.patches,
            steps=batches.steps,
        ):
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
            "peak_memory_bytes": provenance.peak_memory_bytes(),
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
            f"patches; {self.batches.steps} steps in each of {config.epochs} epochs, "
            f"{config.epochs * self.batches.steps} in all, on {self.devices.replicas} device(s) "
            f"({_device_name()}), {built.precision}{', XLA' if built.jit else ''}",
        ]
        if built.class_weights is not None:
            pairs = zip(info.legend.names, built.class_weights, strict=True)
            lines.append("class weights: " + ", ".join(f"{n} {w:.2f}" for n, w in pairs))
        return "\n".join(lines)


def _device_name(nvidia: str | Path = "/dev/nvidia0") -> str:
    """Returns what trains: without CUDA's libraries it is the processor, where a GPU is, too."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return _gpu_name(gpus[0])
    unseen = "; TensorFlow does not see the NVIDIA GPU, docs/training.md tells what it needs"
    return f"processor{unseen if Path(nvidia).exists() else ''}"


def _gpu_name(gpu: Any) -> str:
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
