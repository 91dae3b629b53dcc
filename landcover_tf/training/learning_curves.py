"""Learning curves, drawn the same way beside a run's files and in its report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landcover_tf.run_folder import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "loss": ("train_loss", "val_loss"),
    "validation scores": ("val_mean_iou", "val_mean_f1", "val_overall_accuracy"),
    "learning rate": ("learning_rate",),
}
"""Columns of the history by panel."""


def learning_curves(history: Sequence[Row], best_epoch: int | None) -> "Figure":
    """Returns losses, scores and the learning rate over the epochs.

    Args:
        history: One row per epoch.
        best_epoch: Epoch of the best weights, which gets a dotted line; None if there is none.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axis, (title, names) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for name in names:
            values = [np.nan if row.get(name) is None else row[name] for row in history]
            axis.plot(epochs, values, label=name.replace("_", " "), marker="." * (len(epochs) < 40))
        if best_epoch is not None:
            axis.axvline(best_epoch, color="0.6", lw=1, ls=":")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False)
    return figure
