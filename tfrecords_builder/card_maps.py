"""Where the patches of each split lie, drawn for `dataset.html`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry
from landcover_tf.visuals.html_pages import picture_url
from tfrecords_builder.reading import record_at

MAPS = 6
"""Coordinate systems that get a map."""
MAP_UNITS = 600
"""Longer side of a map in drawing units."""
SQUARES = 20_000
"""Most places that are drawn as squares, 25 bytes each; more become a picture."""
PICTURE_PX = 1200
"""Longer side of that picture."""
SPLIT_COLOURS = {"train": "#4477aa", "val": "#ccbb44", "test": "#ee6677"}
OPACITY = 0.55
"""Of a split's colour on white, or on another split."""


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """Places of the patches of one coordinate system, as squares of an SVG or as a picture."""

    crs: str
    width: float
    height: float
    corners: str
    """Coordinates of the lower left and the upper right corner."""
    paths: dict[str, str]
    """Squares of each split; none if there is a picture."""
    picture: str = ""
    """PNG as a data URI."""


def drawn_maps(folder: Path, info: DatasetInfo, entries: Sequence[PatchEntry]) -> list[DrawnMap]:
    """Returns the patches in each of their coordinate systems; none when they have none."""
    maps = []
    for crs in sorted({entry.crs for entry in entries} - {""})[:MAPS]:
        members = [entry for entry in entries if entry.crs == crs]
        maps.append(drawn_map(crs, members, _patch_sides(folder, info, members), list(info.splits)))
    return maps


def drawn_map(
    crs: str, members: Sequence[PatchEntry], sides: tuple[float, float], splits: Sequence[str]
) -> DrawnMap:
    """Returns the map of some patches; what is drawn grows with their places, not their dates.

    Args:
        crs: Their coordinate system.
        members: The patches.
        sides: Width and height of a patch in units of the CRS.
        splits: Names of all splits; later ones are drawn above.
    """
    number = {name: n for n, name in enumerate(splits)}
    # The dates of a place are one square in each split that has some of them.
    x, y, split = np.unique([(e.x, e.y, number[e.split]) for e in members], axis=0).T
    across, down = sides
    left, right = x.min() - across / 2, x.max() + across / 2
    bottom, top = y.min() - down / 2, y.max() + down / 2
    scale = MAP_UNITS / max(right - left, top - bottom)
    # Upper left corners.
    cols, rows = (x - across / 2 - left) * scale, (top - y - down / 2) * scale
    width, height = across * scale, down * scale
    paths, picture = {}, ""
    if len(split) > SQUARES:
        size = (right - left) * scale, (top - bottom) * scale
        colours = [SPLIT_COLOURS[name] for name in splits]
        picture = picture_url(painted(cols, rows, split, (width, height), size, colours))
    else:
        shape = f"h{width:.1f}v{height:.1f}h-{width:.1f}z"
        for name, n in number.items():
            corners = zip(cols[split == n], rows[split == n], strict=True)
            paths[name] = "".join(f"M{col:.1f} {row:.1f}{shape}" for col, row in corners)
    return DrawnMap(
        crs=crs,
        width=(right - left) * scale,
        height=(top - bottom) * scale,
        corners=f"{left:.9g}, {bottom:.9g} to {right:.9g}, {top:.9g}",
        paths=paths,
        picture=picture,
    )


def painted(
    cols: np.ndarray,
    rows: np.ndarray,
    split: np.ndarray,
    patch: tuple[float, float],
    size: tuple[float, float],
    colours: Sequence[str],
) -> np.ndarray:
    """Returns squares painted on white, uint8 [height, width, 3], `PICTURE_PX` the longer side.

    Args:
        cols: Left edges in drawing units, float [squares].
        rows: Upper edges, float [squares].
        split: Number of each one's split, [squares].
        patch: Width and height of a square; at least a pixel is painted.
        size: Width and height of the whole.
        colours: #rrggbb of each split.
    """
    scale = PICTURE_PX / max(size)
    width, height = (max(round(side * scale), 1) for side in size)
    left, above = (
        np.clip(np.rint(edges * scale).astype(int), 0, side - 1)
        for edges, side in ((cols, width), (rows, height))
    )
    right, below = (
        np.clip(np.rint((edges + side) * scale).astype(int), start + 1, limit)
        for edges, side, start, limit in (
            (cols, patch[0], left, width),
            (rows, patch[1], above, height),
        )
    )
    picture = np.full((height, width, 3), 255.0)
    for number, colour in enumerate(colours):
        own = split == number
        # Corners of a square count up and down, and their sums are positive where any square is.
        steps = np.zeros((height + 1, width + 1), np.int32)
        for row, col, step in (
            (above, left, 1),
            (below, right, 1),
            (above, right, -1),
            (below, left, -1),
        ):
            np.add.at(steps, (row[own], col[own]), step)
        inside = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
        rgb = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
        picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * rgb
    return np.asarray(np.rint(picture), np.uint8)


def _patch_sides(
    folder: Path, info: DatasetInfo, members: Sequence[PatchEntry]
) -> tuple[float, float]:
    """Returns width and height of a patch in the unit of its CRS: metres, feet or degrees."""
    nearest = min(members, key=lambda entry: entry.position)
    a, b, _, d, e, _ = record_at(folder, info, nearest.shard, nearest.position).transform
    size = info.patch_grid.patch_size
    return size * math.hypot(a, d), size * math.hypot(b, e)
