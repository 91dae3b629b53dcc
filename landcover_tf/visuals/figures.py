"""Figures as PNG files: pictures side by side, confusion matrices.

Matplotlib takes half a second to import, so only the functions that draw import it.
"""

import io
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landcover_tf.legend import Legend
from landcover_tf.system.files import atomic_path
from landcover_tf.visuals.pictures import Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
_MISSING_GLYPH = re.compile(r"Glyph (\d+) .*missing from font")
TALLEST_PANEL = 3.0
"""Height over width of a panel; taller pictures are drawn narrower than their panel."""


def save_panels(
    path: str | Path,
    panels: Sequence[tuple[str, np.ndarray]],
    *,
    legend: Legend | None = None,
    columns: int | None = None,
    title: str = "",
    metres_per_pixel: float | None = None,
    panel_inches: float = 3.6,
    colour_names: Mapping[str, Mapping[str, Colour]] | None = None,
) -> None:
    """Writes titled pictures side by side as one PNG.

    Args:
        path: PNG to write.
        panels: (title, uint8 [height, width, 3]).
        legend: Drawn below the panels when given.
        columns: Panels per row; all in one row by default.
        title: Heading of the whole picture.
        metres_per_pixel: Draws a scale bar into the first panel when given.
        panel_inches: Width of a panel.
        colour_names: By the title of a panel, colours and their names, drawn below it.
    """
    from matplotlib.figure import Figure

    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    height, width = panels[0][1].shape[:2]
    panel_height = panel_inches * min(height / width, TALLEST_PANEL)
    below = sum(
        0.17 * -(-len(names) // _swatch_columns(names, panel_inches)) + 0.1
        for names in (colour_names or {}).values()
    )
    figure = Figure(
        figsize=(panel_inches * columns, (panel_height + 0.35) * rows + below + 0.7),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, picture) in zip(axes, panels, strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=10)
        if colour_names and name in colour_names:
            _swatches(axis, colour_names[name], panel_inches)
    for axis in axes:
        axis.set_axis_off()
    if metres_per_pixel:
        _scale_bar(axes[0], width, metres_per_pixel)
    if title:
        figure.suptitle(title, fontsize=12)
    if legend is not None:
        names = {f"{c.code} {c.name}": c.rgb for c in legend.classes}
        _swatches(figure, names, float(figure.get_figwidth()))
    save_figure(figure, path)


def confusion_matrix_figure(
    matrix: np.ndarray, names: Sequence[str], *, title: str = ""
) -> "Figure":
    """Returns a confusion matrix as a picture of row shares with the counts written in.

    Args:
        matrix: Pixels [reference class, predicted class].
        names: Class names.
        title: Heading.
    """
    from matplotlib.figure import Figure

    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 2.6 + 0.62 * len(names)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("predicted")
    axis.set_ylabel("reference")
    axis.set_title(title, fontsize=10)
    for (row, col), value in np.ndenumerate(share):
        axis.text(
            col,
            row,
            f"{value:.0%}\n{_short(float(matrix[row, col]))}",
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if value > 0.55 else "black",
        )
    figure.colorbar(image, ax=axis, shrink=0.7, label="share of the reference class")
    return figure


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Writes a figure as PNG, atomically and without a date, so that equal pictures are equal.

    Letters that the font lacks, as in names of classes, are told in one sentence.
    """
    png = figure_png(figure, drawn_in=path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(png)


def figure_png(figure: "Figure", *, drawn_in: str | Path) -> bytes:
    """Returns a figure as the bytes of a PNG file; see `save_figure`.

    Args:
        figure: What to draw.
        drawn_in: Where it will be seen, for the sentence about letters.
    """
    buffer = io.BytesIO()
    with _missing_letters_told(drawn_in):
        figure.savefig(
            buffer, format="png", dpi=DPI, metadata={"Software": None}, facecolor="white"
        )
    return buffer.getvalue()


@contextmanager
def _missing_letters_told(drawn_in: str | Path) -> Iterator[None]:
    """Replaces matplotlib's warnings, one or more for each letter, and passes on all others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    letters: dict[str, None] = {}
    for warning in caught:
        found = _MISSING_GLYPH.match(str(warning.message))
        if found is None:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        else:
            letters[chr(int(found[1]))] = None
    if letters:
        print(
            f"warning: the font of pictures lacks {''.join(letters)}, drawn as boxes in {drawn_in}",
            file=sys.stderr,
        )


def _scale_bar(axis: "Axes", width_px: int, metres_per_pixel: float) -> None:
    from matplotlib.patheffects import withStroke

    # A hair more, or a round quarter that rounding left below itself would reach no length at all.
    reach = width_px * metres_per_pixel / 4 * (1 + 1e-9)
    magnitude = 10 ** np.floor(np.log10(reach))
    length_m = magnitude * max(step for step in (1, 2, 5) if step * magnitude <= reach)
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    start, end = 0.04, 0.04 + length_m / metres_per_pixel / width_px
    # White with a dark edge is seen on water as on the light grey of no data.
    style: dict[str, Any] = {
        "color": "white",
        "transform": axis.transAxes,
        "path_effects": [withStroke(linewidth=5, foreground="0.2")],
    }
    axis.plot([start, end], [0.04, 0.04], lw=3, **style)
    style["path_effects"] = [withStroke(linewidth=2, foreground="0.2")]
    axis.text((start + end) / 2, 0.06, text, fontsize=8, ha="center", **style)


def _swatches(below: "Axes | Figure", colours: Mapping[str, Colour], width_inches: float) -> None:
    """Draws the colours with their names below a panel or below the whole figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    place: dict[str, Any] = (
        {"loc": "outside lower center"}
        if isinstance(below, Figure)
        else {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
    )
    below.legend(
        handles=[
            Patch(facecolor=f"#{bytes(colour).hex()}", edgecolor="0.4", label=name)
            for name, colour in colours.items()
        ],
        ncols=_swatch_columns(colours, width_inches),
        fontsize=8,
        frameon=False,
        **place,
    )


def _swatch_columns(names: Collection[str], width_inches: float) -> int:
    """Returns in how many columns names at 8 points fit, all of them about equally full."""
    # A letter is about 0.065 inches wide, the patch and the gaps are about 0.6.
    most = max(int(width_inches / (0.065 * max(map(len, names)) + 0.6)), 1)
    rows = -(-len(names) // most)
    # Matplotlib fills column after column: of more columns the last ones would have fewer names.
    return -(-len(names) // rows)


def _short(count: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return f"{count:.0f}"
