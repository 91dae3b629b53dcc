"""Pictures of a search."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from tuning.columns import positions
from tuning.trials import TrialRecord


def parallel_coordinates(
    records: Sequence[TrialRecord], names: Sequence[str], objective: str
) -> Figure:
    """Returns one line per trial through an axis per setting and one for the score.

    Args:
        records: Completed trials.
        names: Settings that differ between them.
        objective: Name of the score.
    """
    columns = [positions([r.settings.get(n) for r in records]) for n in names]
    scores = np.array([r.score for r in records], float)
    columns.append(positions(list(map(float, scores)), log_ratio=np.inf))
    figure = Figure(figsize=(1.5 * len(columns) + 2, 4.5), layout="constrained")
    axes = figure.subplots()
    places = np.stack([place for place, _ in columns], axis=1)
    # The worst are drawn first, so that the best lie above them.
    for rank in np.argsort(scores):
        share = float(places[rank, -1])
        axes.plot(places[rank], color=colormaps["cividis_r"](share), lw=1 + 1.5 * share, alpha=0.85)
    for number, (_, labels) in enumerate(columns):
        axes.axvline(number, color="0.6", lw=0.8, zorder=0)
        heights = np.linspace(0, 1, len(labels)) if len(labels) > 1 else [0.5]
        for label, height in zip(labels, heights, strict=True):
            axes.annotate(
                label, (number, height), xytext=(4, 0), textcoords="offset points", fontsize=8,
                va="center", bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 1},
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), [*names, objective], rotation=20, ha="right")
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.spines[:].set_visible(False)
    return figure


def course(records: Sequence[TrialRecord]) -> Figure:
    """Returns the score of each trial and the best so far, in the order of the search."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    done = [(i, r.score) for i, r in enumerate(records) if r.score is not None]
    numbers, scores = [i for i, _ in done], [s for _, s in done]
    axes.plot(numbers, scores, "o", color="#1f4e79", label="trial")
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color="#c46a00", label="best")
    axes.set(xlabel="trial", ylabel="score")
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False)
    return figure


def bars(values: Mapping[str, float]) -> Figure:
    """Returns one bar per name, the first on top."""
    figure = Figure(figsize=(7, 0.35 * len(values) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(values), list(values.values()), color="#1f4e79")
    axes.invert_yaxis()
    axes.set_xlabel("drop of R² when shuffled")
    return figure


def comparison(records: Sequence[TrialRecord], histories: Mapping[str, Any], objective: str) -> Any:
    """Returns the scores of named runs as bars, and their course over the epochs.

    Args:
        records: Completed runs, the best first.
        histories: Score of each epoch by run.
        objective: Name of the score.
    """
    figure = Figure(figsize=(12, 0.35 * len(records) + 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    colors = colormaps["cividis"](np.linspace(0, 0.95, len(records)))
    dashes = itertools.cycle(("-", "--", "-.", ":"))  # Neighbouring colours are much alike.
    for record, color, dash in zip(records, colors, dashes, strict=False):
        left.barh(record.id, record.score, color=color)
        left.annotate(
            f"{record.score:.3f}", (record.score, record.id), xytext=(3, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
        epochs = histories[record.id]
        right.plot(list(epochs), list(epochs.values()), dash, color=color, label=record.id)
    left.invert_yaxis()
    left.margins(x=0.15)  # Room for the numbers.
    left.set_xlabel(f"best validation {objective}")
    right.set(xlabel="epoch", ylabel=objective)
    right.legend(frameon=False, fontsize=8)
    return figure
