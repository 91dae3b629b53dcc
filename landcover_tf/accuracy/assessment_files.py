"""The files of an assessment: JSON, tables as CSV, a report in Markdown, a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landcover_tf.accuracy.assessment_sentences import sentences
from landcover_tf.accuracy.assessment_tables import TextTable, tables, title
from landcover_tf.system.files import write_json, write_text
from landcover_tf.system.tables import write_csv
from landcover_tf.visuals.figures import save_figure

PICTURE = "assessment.png"
REPORT = "report.md"
_CLASSES = "classes.csv"
_MATRICES = ("confusion_counts", "confusion_area_fractions")
TABLES = (_CLASSES, *(f"{key}.csv" for key in _MATRICES))
_FIGURES = (
    "users_accuracy", "producers_accuracy", "f1", "iou", "area_fraction", "area_ha",
    "mapped_fraction", "mapped_area_ha",
)  # fmt: skip
_PARTS = ("value", "standard_error", "low", "high")


def write_assessment(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes all files of an assessment.

    Args:
        folder: Where to write; created if absent.
        values: As `landcover_tf.accuracy.summaries` gives them.
    """
    _write_classes(folder / _CLASSES, values["classes"])
    for key in _MATRICES:
        if key in values:
            _write_matrix(folder / f"{key}.csv", values, key)
    _draw(folder / PICTURE, values)
    write_text(folder / REPORT, markdown(values))
    write_json(folder / f"{values['kind']}.json", values)


def markdown(values: Mapping[str, Any]) -> str:
    """Returns the report: what was done, what was left out, every table, the picture."""
    files = (
        f"Map `{values['map']}`, SHA-256 {values['map_sha256']}; reference `{values['reference']}`."
    )
    lines = [f"# {title(values)}", "", files]
    lines += ["", *(f"{sentence}\n" for sentence in sentences(values))]
    lines.append(f"![Scores by class]({PICTURE})")
    for table in tables(values):
        lines += ["", f"## {table.caption}", "", *_markdown_rows(table)]
    excluded = values.get("points", {}).get("excluded", {})
    if excluded:
        lines += ["", "## Points left out", ""]
        lines += [f"- {reason}: {', '.join(ids)}" for reason, ids in excluded.items()]
    return "\n".join(lines) + "\n"


def _markdown_rows(table: TextTable) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|---|" + "---:|" * (len(table.header) - 1)
    return [row(table.header), rule, *(row(cells) for cells in table.rows)]


def _write_classes(path: Path, classes: Sequence[Mapping[str, Any]]) -> None:
    """Writes one row per class; each figure takes a column per part of its interval."""
    rows = []
    for values in classes:
        row: dict[str, Any] = {}
        for key, value in values.items():
            if key not in _FIGURES:
                row[key] = value
            elif value is not None:
                parts = [part for part in _PARTS if part in value]
                row |= {key if p == "value" else f"{key}_{p}": value[p] for p in parts}
        rows.append(row)
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def _write_matrix(path: Path, values: Mapping[str, Any], key: str) -> None:
    names = [c["name"] for c in values["classes"]]
    corner = "map \\ reference" if values["matrix_rows"] == "map" else "reference \\ map"
    rows = [[name, *row] for name, row in zip(names, values[key], strict=True)]
    write_csv(path, [corner, *names], rows)


def _draw(path: Path, values: Mapping[str, Any]) -> None:
    """Draws the scores of each class with their intervals, and areas or breakdowns beside."""
    classes = [c for c in values["classes"] if _occurs(c)]
    colours = {c["code"]: c["color"] for c in values["legend"]["classes"]}
    figure = Figure(figsize=(11, 1.6 + 0.42 * len(classes)), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(len(classes))[::-1]
    compare = values["kind"] == "compare"
    for shift, marker, key, name in (
        (0.15, "o", "users_accuracy", "user's (precision)"),
        (-0.15, "s", "producers_accuracy", "producer's (recall)"),
    ):
        _intervals(left, [c[key] for c in classes], places + shift, marker, name)
    left.set_yticks(places, [c["name"] for c in classes], fontsize=8)
    left.set(xlim=(-0.02, 1.02))
    left.set_title(title(values), fontsize=10)
    left.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.07))
    left.grid(alpha=0.3, axis="x")
    if compare:
        _draw_parts(right, values)
    elif values["probability_sample"]:
        bars = [colours[c["code"]] for c in classes]
        shares = [c["mapped_fraction"]["value"] or 0.0 for c in classes]
        right.barh(places, shares, color=bars, edgecolor="0.3", height=0.6, label="on the map")
        _intervals(right, [c["area_fraction"] for c in classes], places, "D", "estimated")
        right.set_yticks(places, [""] * len(classes))
        right.set(xlabel="share of the mapped area", xlim=(0, None))
        right.set_title("Area", fontsize=10)
        right.legend(fontsize=7, loc="best")
        right.grid(alpha=0.3, axis="x")
    else:
        right.set_axis_off()
    save_figure(figure, path)


def _intervals(
    axis: Axes, figures: Sequence[Mapping[str, Any]], places: np.ndarray, marker: str, name: str
) -> None:
    known = [i for i, f in enumerate(figures) if f["value"] is not None]
    x = np.array([figures[i]["value"] for i in known], float)

    def end(key: str) -> np.ndarray:
        ends = [figures[i].get(key) for i in known]
        return np.array([v if e is None else e for e, v in zip(ends, x, strict=True)], float)

    # A percentile interval need not contain its value; a bar of negative length is no bar.
    reach = np.maximum([x - end("low"), end("high") - x], 0)
    axis.errorbar(x, places[known], xerr=reach, fmt=marker, ms=4, capsize=2.5, lw=1, color="0.15",
                  mfc="white" if marker == "s" else "0.15", label=name)  # fmt: skip


def _draw_parts(axis: Axes, values: Mapping[str, Any]) -> None:
    """Draws agreement by object size and by distance to a boundary."""
    groups = [("by_object_size", "#4a7fb0"), ("by_boundary_distance", "#b0784a")]
    names: list[str] = []
    for key, colour in groups:
        rows = values[key]
        places = -np.arange(len(names), len(names) + len(rows))
        shares = [row["agreement"] or 0.0 for row in rows]
        axis.barh(places, shares, color=colour, height=0.7)
        for place, row in zip(places, rows, strict=True):
            text = "none" if row["agreement"] is None else f"{row['agreement']:.2f}"
            axis.text(0.01, float(place), text, va="center", fontsize=7)
        names += [row["range"] for row in rows]
    axis.set_yticks(-np.arange(len(names)), names, fontsize=7)
    axis.set(xlim=(0, 1), xlabel="agreement")
    axis.set_title("By object size and by distance to a boundary", fontsize=10)


def _occurs(values: Mapping[str, Any]) -> bool:
    names = ("map_points", "reference_points", "map_pixels", "reference_pixels", "mapped_pixels")
    return any(values.get(name) for name in names)
