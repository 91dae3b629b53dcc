"""`dataset.html`, the dataset on one page: `python -m tfrecords_builder.card DATASET`."""

import base64
import io
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from landcover_tf import cli
from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.files import atomic_path
from landcover_tf.patch_index import PatchEntry, read_index
from landcover_tf.sentinel2.validity import ValidityBit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE_NAME = "dataset.html"
SAMPLES = 6
"""Sample patches of each split."""
MAPS = 6
"""Coordinate systems that get a map."""
SPLIT_COLOURS = {"train": "#4477aa", "val": "#ccbb44", "test": "#ee6677"}


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Writes dataset.html again: splits on a map, classes, bands and sample patches."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json."""
    output: Path | None = None
    """HTML file to write; DATASET/dataset.html by default."""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of writing the page."""
    return cli.run(CardConfig, _program, argv, prog="tfrecords_builder.card")


def write_card(folder: Path, info: DatasetInfo, entries: Sequence[PatchEntry], path: Path) -> None:
    """Writes a self-contained page about a dataset; equal datasets give equal pages.

    Args:
        folder: Where the shards are.
        info: The dataset's description.
        entries: Its patch index.
        path: HTML file to write.
    """
    from jinja2 import Environment

    template = resources.files("tfrecords_builder").joinpath("card.html.jinja").read_text()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    groups = defaultdict(set)
    for entry in entries:
        groups[entry.split].add(entry.group)
    page = environment.from_string(template).render(
        info=info,
        split_method=info.build_config.get("split", "an unknown method"),
        dropped=info.build_config.get("dropped_patches", {}),
        groups=set().union(*groups.values()),
        groups_of_split={name: sorted(members) for name, members in groups.items()},
        map=_map(info, entries),
        classes=_class_bars(info),
        bands=_band_histograms(info),
        band_rows=_band_rows(info),
        samples=_samples(folder, info),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page)


def _program(config: CardConfig) -> None:
    info = DatasetInfo.load(config.dataset)
    path = config.output or config.dataset / FILE_NAME
    write_card(config.dataset, info, read_index(config.dataset), path)
    print(f"wrote {path}")


def _map(info: DatasetInfo, entries: Sequence[PatchEntry]) -> str | None:
    """Returns the patches in their coordinate systems, None when they have none."""
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    systems = sorted({entry.crs for entry in entries} - {""})[:MAPS]
    if not systems:
        return None
    side = info.patch_grid.patch_size * (info.resolution_m or 1e-4)
    figure = Figure(figsize=(9, 5.5 if len(systems) < 3 else 8), layout="constrained")
    columns = min(len(systems), 3)
    axes = figure.subplots(-(-len(systems) // columns), columns, squeeze=False).ravel()
    for axis in axes[len(systems) :]:
        axis.set_axis_off()
    for axis, crs in zip(axes, systems, strict=False):
        for split, colour in SPLIT_COLOURS.items():
            squares = [
                Rectangle((e.x - side / 2, e.y - side / 2), side, side)
                for e in entries
                if e.crs == crs and e.split == split
            ]
            axis.add_collection(
                PatchCollection(
                    squares, facecolor=colour, edgecolor=colour, alpha=0.55, linewidth=0.4
                )
            )
        axis.autoscale_view()
        axis.set_aspect("equal")
        axis.set_title(crs[:40], fontsize=9)
        axis.ticklabel_format(useOffset=False, style="plain")
        axis.tick_params(labelsize=7)
    handles = [Patch(facecolor=SPLIT_COLOURS[name], label=name) for name in info.splits]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return _embedded(figure)


def _class_bars(info: DatasetInfo) -> str:
    from matplotlib.figure import Figure

    classes = info.legend.classes
    figure = Figure(figsize=(9, 0.9 + 0.34 * len(classes)), layout="constrained")
    axis = figure.subplots()
    rows, height = np.arange(len(classes)), 0.8 / max(len(info.splits), 1)
    for number, (name, split) in enumerate(info.splits.items()):
        total = max(sum(split.class_pixels.values()), 1)
        shares = [100 * split.class_pixels.get(c.code, 0) / total for c in classes]
        axis.barh(
            rows + (number - (len(info.splits) - 1) / 2) * height,
            shares,
            height,
            color=SPLIT_COLOURS[name],
            label=name,
        )
    axis.set_yticks(rows, [c.name for c in classes], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlabel("share of the usable pixels of each split (%)")
    axis.legend(frameon=False)
    return _embedded(figure)


def _band_histograms(info: DatasetInfo) -> str:
    from matplotlib.figure import Figure

    columns = min(len(info.bands), 4)
    rows = -(-len(info.bands) // columns)
    figure = Figure(figsize=(9, 1.6 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    statistics = info.statistics
    for axis in axes[len(info.bands) :]:
        axis.set_axis_off()
    limits = np.stack([statistics.percentile(0.1), statistics.percentile(99.9)], axis=1)
    for axis, band, bins, limit in zip(
        axes, info.bands, statistics.histogram, limits, strict=False
    ):
        numbers, counts = np.array(bins, float).reshape(-1, 2).T
        left = numbers * statistics.bin_width * band.scale + band.offset
        axis.fill_between(left, counts, step="post", color="#4477aa", linewidth=0)
        axis.set_title(band.name, fontsize=9)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
        if limit[1] > limit[0]:
            axis.set_xlim(*(limit * band.scale + band.offset))
    return _embedded(figure)


def _band_rows(info: DatasetInfo) -> list[list[str]]:
    statistics = info.statistics
    scale, offset = np.array(info.scale), np.array(info.offset)
    columns = [
        statistics.mean * scale + offset,
        statistics.std * scale,
        *(statistics.percentile(q) * scale + offset for q in (1, 50, 99)),
    ]
    return [
        [band.name, f"{band.scale:g}", f"{band.offset:g}", *(f"{c[number]:.4f}" for c in columns)]
        for number, band in enumerate(info.bands)
    ]


def _samples(folder: Path, info: DatasetInfo) -> list[str]:
    """Returns one picture for each split: images above their labels."""
    from landcover_tf.pictures import class_picture, composite
    from tfrecords_builder.reading import stored_patches

    pictures = []
    for split in info.splits:
        figure = None
        for number, stored in enumerate(stored_patches(folder, info, (split,))):
            if number == SAMPLES:
                break
            patch = stored.patch
            has_data = (patch.validity & np.uint8(ValidityBit.NODATA)) == 0
            reflectance = patch.image * np.array(info.scale) + np.array(info.offset)
            if figure is None:
                figure, axes = _sheet(split)
            axes[0, number].imshow(composite(reflectance, patch.band_names, valid=has_data))
            axes[1, number].imshow(class_picture(patch.label, info.legend), interpolation="nearest")
        if figure is not None:
            pictures.append(_embedded(figure))
    return pictures


def _sheet(title: str) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.3), layout="constrained")
    axes = figure.subplots(2, SAMPLES, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _embedded(figure: "Figure") -> str:
    """Returns a figure as a data URI, without a date, so that equal pictures are equal."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None}, facecolor="white")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main())
