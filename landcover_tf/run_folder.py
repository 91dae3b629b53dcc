"""The folder that a training run fills: names of its files and what may be expected of them."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, RunError
from landcover_tf.model_info import Calibration
from landcover_tf.system.files import read_json, sha256_of
from landcover_tf.system.tables import write_csv

FINISHED = "finished"

Row = dict[str, float | None]
"""What the history says of an epoch; None where a value is unknown."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; nothing is read until a method is called."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def config(self) -> Path:
        """The training config; `landcover train --config` on it repeats the run."""
        return self.path / "config.json"

    @property
    def augmentation(self) -> Path:
        """All settings of the augmentation, whatever preset or file they came from."""
        return self.path / "augmentation.json"

    @property
    def dataset(self) -> Path:
        """A copy of the dataset's description."""
        return self.path / "dataset.json"

    @property
    def shard_hashes(self) -> Path:
        """SHA-256 of the shards that were read, so that they are not read again for it."""
        return self.path / "shard_hashes.json"

    @property
    def model_spec(self) -> Path:
        """What is needed to build the network again."""
        return self.path / "model_spec.json"

    @property
    def pretrained(self) -> Path:
        """Origin, checksum and licence of the weights that the encoder began with, if any."""
        return self.path / "encoder_weights.json"

    @property
    def best_weights(self) -> Path:
        """Weights of the best epoch so far."""
        return self.path / "best.weights.h5"

    @property
    def state(self) -> Path:
        """Everything that is needed to go on after an interruption."""
        return self.path / "last" / "state.safetensors"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.path / "history.csv"

    @property
    def learning_curves(self) -> Path:
        """Picture of the history."""
        return self.path / "learning_curves.png"

    @property
    def summary(self) -> Path:
        """Config, data hash, commit, versions, hardware and scores."""
        return self.path / "run.json"

    @property
    def model_card(self) -> Path:
        """Description of the model for people."""
        return self.path / "MODEL_CARD.md"

    @property
    def calibration(self) -> Path:
        """Calibration that was fitted on the validation split."""
        return self.path / "calibration.json"

    @property
    def tensorboard(self) -> Path:
        """Log folder for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def lock(self) -> Path:
        """There while a training runs, and held by it."""
        return self.path / ".lock"

    @property
    def bad_batch(self) -> Path:
        """The batch at which the loss stopped being a number."""
        return self.path / "bad_batch.npz"

    def evaluation(self, split: str, info: DatasetInfo | None = None) -> Path:
        """Folder of the scores on a split, of the run's own dataset or of `info`, if another."""
        name = split
        if info is not None and info.data_hash != DatasetInfo.load(self.dataset).data_hash:
            # A dataset may be called anything, and two of them the same.
            plain = re.sub(r"[^\w.-]+", "-", info.name)
            name = f"{split}-{plain}-{info.data_hash}"
        return self.path / "evaluation" / name

    def read_scores(self, split: str) -> dict[str, Any] | None:
        """Returns what `landcover evaluate` found on a split of the run's dataset, or None.

        Raises:
            RunError: The file holds no JSON object.
        """
        path = self.evaluation(split) / "scores.json"
        return self._read(path) if path.is_file() else None

    def is_finished(self) -> bool:
        """Returns whether training reached its end."""
        return self.summary.is_file() and self.read_summary().get("status") == FINISHED

    def require_finished(self) -> None:
        """Checks that the folder holds a finished training run.

        Raises:
            RunError: It does not; the message says what to do.
        """
        if not self.config.is_file():
            raise RunError(
                f"{self.path} is not a run folder: it has no {self.config.name}; expected the "
                "--output-dir of landcover train"
            )
        if not self.is_finished():
            raise RunError(
                f"the training run in {self.path} has not finished; continue it with "
                # A copied folder's config names the original.
                f"`landcover train --config {self.config} --output-dir {self.path}`"
            )
        missing = [p.name for p in (self.dataset, self.model_spec, self.best_weights)
                   if not p.is_file()]  # fmt: skip
        if missing:
            raise RunError(f"the run folder {self.path} lacks {', '.join(missing)}; train again")

    def read_config(self) -> dict[str, Any]:
        """Returns the training config as plain values.

        Raises:
            RunError: It is missing or malformed.
        """
        return self._read(self.config)

    def write_history(self, history: Sequence[Row]) -> None:
        """Writes `history.csv`, one row per epoch; nothing without any.

        It has the columns of all epochs: an older version may have begun the run without some.
        """
        if not history:
            return
        names = list(dict.fromkeys(name for row in history for name in row))
        values = ([row.get(name) for name in names] for row in history)
        rows = ([f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in values)
        write_csv(self.history, names, rows)

    def read_history(self) -> list[Row]:
        """Returns what `history.csv` says of each epoch.

        Raises:
            RunError: It is missing or holds something else.
        """
        try:
            with self.history.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return [{k: float(v) if v else None for k, v in row.items()} for row in rows]
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"cannot read {self.history}: {error}") from error

    def read_augmentation(self) -> dict[str, Any] | None:
        """Returns the settings of the augmentation, None for runs that did not write them.

        Raises:
            RunError: They are malformed.
        """
        return self._read(self.augmentation) if self.augmentation.is_file() else None

    def read_summary(self) -> dict[str, Any]:
        """Returns the contents of `run.json`.

        Raises:
            RunError: It is missing or malformed.
        """
        return self._read(self.summary)

    def calibration_values(self) -> dict[str, Any] | None:
        """Returns the contents of `calibration.json`, None without it.

        Raises:
            RunError: It holds no JSON object.
        """
        return self._read(self.calibration) if self.calibration.is_file() else None

    def read_calibration(self, classes: int, data_hash: str) -> Calibration:
        """Returns the fitted calibration, one that changes nothing when there is none.

        Args:
            classes: Channels of the network.
            data_hash: Hash of the training's dataset.

        Raises:
            RunError: `calibration.json` is malformed, or was fitted for other classes, weights or
                data than the run's.
        """
        values = self.calibration_values()
        if values is None:
            return Calibration()
        own = {"weights_sha256": sha256_of(self.best_weights), "data_hash": data_hash}
        if any(values.get(name) != value for name, value in own.items()):
            raise RunError(
                f"{self.calibration} was fitted for other weights or data than those of the run; "
                "evaluate the run again"
            )
        try:
            calibration = Calibration.from_dict(values)
            calibration.check_classes(classes)
            return calibration
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.calibration} holds no calibration of this network ({error!r}); delete it "
                "and evaluate the run again"
            ) from error

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            values = read_json(path)
        except ConfigError as error:
            raise RunError(str(error)) from error
        if not isinstance(values, dict):
            raise RunError(f"{path} must hold a JSON object, got {type(values).__name__}")
        return values
