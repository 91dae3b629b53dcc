"""What a training run tells its watchers: TensorBoard and a line per epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from landcover_tf.accuracy.scores import Scores
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.run_folder import Row
from landcover_tf.visuals.figures import confusion_matrix_figure, figure_png
from landcover_tf.visuals.pictures import class_picture, composite


@dataclass(frozen=True, kw_only=True)
class Example:
    """A validation patch and what the model says about it."""

    image: np.ndarray
    """Reflectance, float32 [height, width, bands]."""
    label: np.ndarray
    """Dense classes, uint8 [height, width]."""
    predicted: np.ndarray
    """Dense classes, uint8 [height, width]."""


class TensorBoardLog:
    """Writes events that TensorBoard shows; made anew when a run goes on.

    Args:
        folder: Log folder.
        legend: Names and colours of the classes.
        band_names: Bands of the examples.
        limits: Their usual values, as `pictures.composite` takes them.
    """

    def __init__(
        self,
        folder: Path,
        legend: Legend,
        band_names: Sequence[str],
        limits: np.ndarray | None = None,
    ) -> None:
        self.folder = folder
        self.legend = legend
        self.band_names = band_names
        self.limits = limits
        self._writer = tf.summary.create_file_writer(str(folder))

    def settings(self, values: Mapping[str, Any]) -> None:
        """Writes the settings, for the table of hyperparameters."""
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in values.items()
        }
        with self._writer.as_default(step=0):
            hparams.hparams(plain)

    def step(self, number: int, **values: float) -> None:
        """Writes what is known after a step."""
        with self._writer.as_default(step=number):
            for name, value in values.items():
                tf.summary.scalar(f"step/{name}", value)

    def epoch(self, number: int, row: Row, scores: Scores) -> None:
        """Writes the scores of an epoch, in total and per class, and the confusion matrix."""
        with self._writer.as_default(step=number):
            for name, value in row.items():
                if value is not None and name != "epoch":
                    tf.summary.scalar(f"epoch/{name}", value)
            for name, iou in zip(self.legend.names, scores.iou, strict=True):
                if np.isfinite(iou):
                    tf.summary.scalar(f"iou/{name}", iou)
            tf.summary.image("confusion matrix", self._matrix_picture(scores.matrix))
        self._writer.flush()

    def examples(self, number: int, examples: Sequence[Example]) -> None:
        """Draws patches: colours, truth, prediction and errors (red) side by side."""
        with self._writer.as_default(step=number):
            for position, example in enumerate(examples):
                picture = example_picture(example, self.legend, self.band_names, self.limits)
                tf.summary.image(f"prediction {position}", picture[None])
        self._writer.flush()

    def histograms(self, number: int, model: keras.Model) -> None:
        """Writes a histogram of every weight."""
        with self._writer.as_default(step=number):
            for variable in model.trainable_variables:
                tf.summary.histogram(variable.path, variable.numpy())

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._writer.close()

    def _matrix_picture(self, matrix: np.ndarray) -> np.ndarray:
        figure = confusion_matrix_figure(matrix, self.legend.names, title="validation")
        png = figure_png(figure, drawn_in=self.folder)
        return tf.io.decode_png(png, channels=3)[None].numpy()


def example_picture(
    example: Example, legend: Legend, band_names: Sequence[str], limits: np.ndarray | None = None
) -> np.ndarray:
    """Returns colours, truth, prediction and error side by side, uint8 [height, 4 width, 3].

    In the last panel correct pixels are white, wrong ones red, ignored ones grey.
    """
    known = example.label != IGNORED
    has_data = (example.image != 0).any(axis=-1)
    wrong = known & (example.label != example.predicted)
    error = np.full((*known.shape, 3), 255, np.uint8)
    error[wrong], error[~known] = (200, 30, 30), (190, 190, 190)
    codes = legend.code_of_index
    panels = [
        composite(example.image, band_names, valid=has_data, limits=limits),
        class_picture(codes[example.label], legend),
        class_picture(codes[example.predicted], legend),
        error,
    ]
    return np.concatenate(panels, axis=1)


def epoch_line(row: Row, epochs: int, *, improved: bool) -> str:
    """Returns the line that is printed of an epoch of `epochs`."""

    def shown(name: str, digits: int = 3) -> str:
        value = row[name]
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        f"epoch {row['epoch']:>3.0f}/{epochs}  loss {shown('train_loss', 4)}  "
        f"val loss {shown('val_loss', 4)}  mean IoU {shown('val_mean_iou')}  "
        f"mean F1 {shown('val_mean_f1')}  accuracy {shown('val_overall_accuracy')}  "
        f"lr {row['learning_rate']:.1e}  {shown('patches_per_second', 1)} patches/s  "
        f"{row['seconds']:.0f} s, {row['input_wait_fraction']:.0%} waiting for data"
        f"{'  best' if improved else ''}"
    )
