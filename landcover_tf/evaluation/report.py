"""The table, the files and the pictures of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from landcover_tf.accuracy.bootstrap import Interval
from landcover_tf.accuracy.calibration import Reliability
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.evaluation.comparison import Judged
from landcover_tf.evaluation.predictions import Shown
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.system.tables import write_csv
from landcover_tf.visuals.figures import save_figure, save_panels
from landcover_tf.visuals.pictures import class_picture, composite

TITLES = {"overall_accuracy": "overall accuracy", "mean_iou": "mean IoU", "mean_f1": "mean F1"}
SERIES = (
    ("as trained", "tab:orange"), ("calibrated", "tab:blue"), ("per-pixel baseline", "0.45"),
)  # fmt: skip
"""Names and colours of the reliabilities: before calibration, after it, and of the baseline."""


def table(judged: Sequence[Judged], differences: dict[str, Interval] | None, legend: Legend) -> str:
    """Returns the comparison as text: totals with their intervals, then IoU and F1 by class."""
    width = max(24, *(len(name) + 2 for name in legend.names))
    head = "".join(f"{j.name:>24}" for j in judged) + ("" if differences is None else
                                                       f"{'difference':>26}")  # fmt: skip
    lines = [" " * width + head]
    for key, title in TITLES.items():
        cells = "".join(f"{shown(j.intervals[key]):>24}" for j in judged)
        if differences is not None:
            cells += f"{shown(differences[key], signed=True):>26}"
        lines.append(f"{title:{width}}{cells}")
    lines += ["", _class_head(judged, width)]
    for i, name in enumerate(legend.names):
        support = int(judged[0].scores.support[i])
        cells = "".join(f"{_number(j.scores.iou[i]):>10}{_number(j.scores.f1[i]):>8}"
                        for j in judged)  # fmt: skip
        lines.append(f"{name:{width}}{support:>12,}{cells}")
    if any(j.scores.predicted_absent for j in judged):
        cells = ", ".join(f"{j.name} {j.scores.predicted_absent:,}" for j in judged)
        lines += ["", f"pixels predicted as classes that are nowhere the truth: {cells}"]
    return "\n".join(lines)


def shown(interval: Interval, *, signed: bool = False) -> str:
    """Returns an interval as text, for example `0.712 [0.69, 0.73]`."""
    sign = "+" if signed else ""
    text = "-" if np.isnan(interval.value) else f"{interval.value:{sign}.3f}"
    if np.isnan(interval.low):
        return text
    return f"{text} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def write_class_table(path: Path, judged: Sequence[Judged], info: DatasetInfo) -> None:
    """Writes one row per class and classifier."""
    names = ("precision", "recall", "f1", "iou")
    rows = []
    for j in judged:
        for i, land_cover in enumerate(info.legend.classes):
            interval = j.class_iou[i]
            rows.append(
                {
                    "classifier": j.name,
                    "code": land_cover.code,
                    "class": land_cover.name,
                    "pixels": int(j.scores.support[i]),
                    "predicted": int(j.scores.predicted[i]),
                }
                | {name: _cell(getattr(j.scores, name)[i]) for name in names}
                | {"iou_low": _cell(interval.low), "iou_high": _cell(interval.high)}
                | {"dataset": info.name}
            )
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def write_matrix(path: Path, matrix: np.ndarray, legend: Legend) -> None:
    """Writes a confusion matrix with class names; rows are the truth."""
    rows = [[name, *row] for name, row in zip(legend.names, matrix.tolist(), strict=True)]
    write_csv(path, ["truth \\ predicted", *legend.names], rows)


def draw_reliability(path: Path, reliabilities: Sequence[Reliability | None]) -> None:
    """Draws accuracy against confidence, and how often each confidence occurs.

    Args:
        path: PNG to write.
        reliabilities: In the order of `SERIES`; None is left out.
    """
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", lw=1)
    for reliability, (name, color) in _drawn(reliabilities):
        label = f"{name}, ECE {reliability.error:.3f}"
        left.plot(reliability.mean_confidence, reliability.accuracy, "o-", color=color, ms=4,
                  label=label)  # fmt: skip
        share = reliability.count / max(reliability.count.sum(), 1)
        right.stairs(share, np.linspace(0, 1, len(share) + 1), color=color, label=name)
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="confidence", ylabel="share of pixels", xlim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def draw_reliability_by_class(
    path: Path, reliabilities: Sequence[Reliability | None], legend: Legend
) -> None:
    """Draws how often a class is the truth against its probability, one panel per class.

    Args:
        path: PNG to write.
        reliabilities: By class, in the order of `SERIES`; None is left out.
        legend: Names of the classes.
    """
    columns = min(len(legend.names), 4)
    rows = -(-len(legend.names) // columns)
    figure = Figure(figsize=(2.5 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis in axes[len(legend.names) :]:
        axis.set_axis_off()
    for i, (axis, land_cover) in enumerate(zip(axes, legend.classes, strict=False)):
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        for reliability, (name, color) in _drawn(reliabilities):
            label = f"{name}, ECE {reliability.error[i]:.3f}"
            axis.plot(reliability.mean_confidence[i], reliability.accuracy[i], "o-", color=color,
                      ms=3, lw=1, label=label)  # fmt: skip
        axis.set_title(f"{land_cover.code} {land_cover.name}", fontsize=8)
        axis.legend(fontsize=6, frameon=False, loc="upper left")
        axis.grid(alpha=0.3)
    axes[0].set(xlim=(0, 1), ylim=(0, 1))
    figure.supxlabel("probability of the class", fontsize=9)
    figure.supylabel("share of pixels of the class", fontsize=9)
    save_figure(figure, path)


def draw_predictions(path: Path, patches: Sequence[Shown], info: DatasetInfo) -> None:
    """Draws patches in rows: colours, truth, network, baseline."""
    if not patches:
        return
    legend, limits = info.legend, info.usual_range
    codes = legend.code_of_index
    panels: list[tuple[str, np.ndarray]] = []
    for patch in patches:
        has_data = (patch.image != 0).any(axis=-1)
        picture = composite(patch.image, info.band_names, valid=has_data, limits=limits)
        panels.append(("image", picture))
        panels.append(("truth", class_picture(codes[patch.label], legend)))
        panels.append(("U-Net", _where_known(codes[patch.network], patch.label, legend)))
        if patch.baseline is not None:
            guess = _where_known(codes[patch.baseline], patch.label, legend)
            panels.append(("per-pixel baseline", guess))
    save_panels(path, panels, legend=legend, columns=len(panels) // len(patches), panel_inches=2.6)


def _drawn(
    reliabilities: Sequence[Reliability | None],
) -> list[tuple[Reliability, tuple[str, str]]]:
    pairs = zip(reliabilities, SERIES, strict=True)
    return [(reliability, how) for reliability, how in pairs if reliability is not None]


def _where_known(codes: np.ndarray, label: np.ndarray, legend: Legend) -> np.ndarray:
    return class_picture(np.where(label == IGNORED, legend.nodata, codes), legend)


def _class_head(judged: Sequence[Judged], width: int) -> str:
    columns = "".join(f"{'IoU':>10}{'F1':>8}" for _ in judged)
    return f"{'class':{width}}{'pixels':>12}{columns}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
