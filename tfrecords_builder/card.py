"""`dataset.html`, the dataset on one page: `python -m tfrecords_builder.card DATASET`."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from landcover_tf.configs import cli
from landcover_tf.datasets.dataset_info import FORMULAS, DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry, read_index
from landcover_tf.system.earlier_reports import require_report
from landcover_tf.system.files import write_text
from landcover_tf.validity import ValidityBit, has_bit
from landcover_tf.visuals.html_pages import picture_url, render
from tfrecords_builder.card_maps import OPACITY, SPLIT_COLOURS, drawn_maps
from tfrecords_builder.reading import stored_patches

FILE_NAME = "dataset.html"
SAMPLES = 6
"""Sample patches of each split."""
SAMPLE_PX = 128
"""Most pixels a side of a sample patch."""
HISTOGRAM_BARS = 120
WHITE: dict[str, Any] = {"constant_values": 255}


@dataclass(frozen=True, kw_only=True)
class DrawnHistogram:
    """Histogram of one band as the path of an SVG of 100 x 100 units."""

    name: str
    path: str
    first: str
    """Reflectance at the left end."""
    last: str
    """Reflectance at the right end."""


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Writes dataset.html again: splits on a map, classes, bands and sample patches."""

    data_dir: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json; also as --data-dir."""
    output: Path | None = None
    """HTML file to write; DATASET/dataset.html by default."""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of writing the page."""
    return cli.run(CardConfig, _program, argv, prog="python -m tfrecords_builder.card")


def write_card(folder: Path, info: DatasetInfo, entries: Sequence[PatchEntry], path: Path) -> None:
    """Writes a self-contained page about a dataset; equal datasets give equal pages.

    Args:
        folder: Where the shards are.
        info: The dataset's description.
        entries: Its patch index.
        path: HTML file to write.
    """
    groups = defaultdict(set)
    for entry in entries:
        groups[entry.split].add(entry.group)
    page = render(
        "tfrecords_builder",
        "card.html.jinja",
        info=info,
        formulas=FORMULAS,
        invalid=[name for name, bit in info.validity_bits.items() if bit & info.invalid_bits],
        split_method=info.build_config.get("split", "an unknown method"),
        dropped=info.build_config.get("dropped_patches", {}),
        groups=set().union(*groups.values()),
        groups_of_split={name: sorted(members) for name, members in groups.items()},
        colours=SPLIT_COLOURS,
        opacity=OPACITY,
        maps=drawn_maps(folder, info, entries),
        histograms=_band_histograms(info),
        band_rows=_band_rows(info),
        samples=_samples(folder, info),
    )
    write_text(path, page)


def _program(config: CardConfig) -> None:
    info = DatasetInfo.load(config.data_dir)
    path = config.output or config.data_dir / FILE_NAME
    require_report(path)
    write_card(config.data_dir, info, read_index(config.data_dir), path)
    print(f"wrote {path}")


def _band_histograms(info: DatasetInfo) -> list[DrawnHistogram]:
    statistics = info.statistics
    if not statistics.count:
        return []
    limits = np.stack([statistics.percentile(0.1), statistics.percentile(99.9)], axis=1)
    drawn = []
    for band, histogram, limit in zip(info.bands, statistics.histogram, limits, strict=True):
        numbers, counts = histogram.numbers, histogram.counts
        low, high = np.floor(limit / histogram.width)
        # Bars hold equally many bins, or they would stand out by that alone.
        of_bar = -(-(high - low + 1) // HISTOGRAM_BARS)
        bars = int(-(-(high - low + 1) // of_bar))
        shown = (numbers >= low) & (numbers < low + bars * of_bar)
        heights = np.bincount(((numbers[shown] - low) // of_bar).astype(int), counts[shown], bars)
        steps = "".join(
            f"V{100 * (1 - height / heights.max()):.1f}h{100 / bars:.3f}" for height in heights
        )
        edges = np.array([low, low + bars * of_bar]) * histogram.width
        first, last = edges * band.scale + band.offset
        drawn.append(
            DrawnHistogram(
                name=band.name, path=f"M0 100{steps}V100z", first=f"{first:.3g}", last=f"{last:.3g}"
            )
        )
    return drawn


def _band_rows(info: DatasetInfo) -> list[list[str]]:
    return [
        [band.name, f"{band.scale:g}", f"{band.offset:g}", *(f"{value:.4f}" for value in figures)]
        for band, figures in zip(info.bands, info.band_figures(1, 50, 99).T, strict=True)
    ]


def _samples(folder: Path, info: DatasetInfo) -> dict[str, str]:
    """Returns a picture of each split: images above their labels."""
    from landcover_tf.visuals.pictures import class_picture, composite

    pictures, limits = {}, info.usual_range
    step = -(-info.patch_grid.patch_size // SAMPLE_PX)
    for split in info.splits:
        columns = []
        for stored in islice(stored_patches(folder, info, (split,)), SAMPLES):
            image, label, validity = (
                raster[::step, ::step]
                for raster in (stored.patch.image, stored.patch.label, stored.patch.validity)
            )
            has_data, shown = ~has_bit(validity, ValidityBit.NODATA), info.reflectance(image)
            pair = (
                composite(shown, info.band_names, valid=has_data, limits=limits),
                class_picture(label, info.legend),
            )
            framed = [np.pad(p, ((2, 2), (2, 2), (0, 0)), **WHITE) for p in pair]
            columns.append(np.concatenate(framed))
        if columns:
            pictures[split] = picture_url(np.concatenate(columns, axis=1))
    return pictures


if __name__ == "__main__":
    sys.exit(main())
