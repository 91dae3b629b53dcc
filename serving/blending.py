"""How overlapping windows become one band of probabilities: cut or weighted."""

from typing import Protocol

import numpy as np

from serving.config import Weighting
from serving.windows import Layout

DEAD_MARGIN_PX = 16
"""Outermost pixels of a patch that cosine weights nearly ignore."""
WEIGHT_FLOOR = 1e-3
"""Smallest weight: pixels seen by one patch only still get a value. A floor of 0.2, as often
used, makes 38 % of the mix change from one pixel to the next; this one 3 %."""


def patch_weights(kind: Weighting, patch_size: int, overlap: int) -> np.ndarray:
    """Returns the weight of each pixel of a patch in the average.

    Args:
        kind: `radial` is 1-r with r the distance from the centre in half patch sizes;
            `cosine` ramps along both axes over the overlap less a dead margin; `uniform` is 1.
        patch_size: Patch height and width in pixels.
        overlap: Pixels that neighbours share.

    Returns:
        float32 [patch_size, patch_size], at least WEIGHT_FLOOR.
    """
    if kind == "uniform":
        return np.ones((patch_size, patch_size), np.float32)
    centre = np.arange(patch_size) + 0.5
    if kind == "radial":
        distance = np.abs(centre - patch_size / 2) / (patch_size / 2)
        weights = 1 - np.hypot(distance[:, None], distance[None, :])
    else:
        ramp = _cosine_ramp(centre, patch_size, overlap)
        weights = ramp[:, None] * ramp[None, :]
    return np.asarray(np.maximum(weights, WEIGHT_FLOOR).astype(np.float32))


class Merger(Protocol):
    """Collects the windows of one window row after another and returns finished bands."""

    def add(self, row: int, col: int, probabilities: np.ndarray) -> None:
        """Takes a window's probabilities, float32 [window height, window width, classes]."""

    def finish(self, row: int) -> np.ndarray:
        """Returns the band of window row `row`, float32 [rows, width, classes]; 0 if unseen."""


class CropMerger:
    """Exact mode: each pixel from the one window that keeps it.

    It works on any values per pixel: probabilities, or decisions made by the engine.
    """

    def __init__(self, layout: Layout, channels: int, dtype: type[np.generic]) -> None:
        self._layout = layout
        self._channels = channels
        self._dtype = dtype
        self._band: np.ndarray | None = None

    def add(self, row: int, col: int, probabilities: np.ndarray) -> None:
        across = self._layout.cols[col]
        if self._band is None:
            self._band = self._empty(row)
        self._band[:, across.keep_start : across.keep_stop] = kept(
            self._layout, row, col, probabilities
        )

    def finish(self, row: int) -> np.ndarray:
        band, self._band = self._band, None
        return self._empty(row) if band is None else band

    def _empty(self, row: int) -> np.ndarray:
        start, stop = self._layout.band(row)
        return np.zeros((stop - start, self._layout.width, self._channels), self._dtype)


class BlendMerger:
    """Blend mode: the weighted mean of the probabilities of all windows that see a pixel.

    The sums reach only as far down as the current window row, so memory does not grow with the
    number of rows. Windows without valid pixels may be left out: sums and weights lack both.
    """

    def __init__(self, layout: Layout, classes: int, weights: np.ndarray) -> None:
        self._layout = layout
        self._weights = weights[..., None]
        shape = (layout.window_height, layout.cols[-1].stop, classes)
        self._sums = np.zeros(shape, np.float32)
        self._totals = np.zeros((*shape[:2], 1), np.float32)
        self._top: int | None = None

    def add(self, row: int, col: int, probabilities: np.ndarray) -> None:
        self._scroll_to(self._layout.rows[row].start)
        columns = slice(self._layout.cols[col].start, self._layout.cols[col].stop)
        self._sums[:, columns] += probabilities * self._weights
        self._totals[:, columns] += self._weights

    def finish(self, row: int) -> np.ndarray:
        start, stop = self._layout.band(row)
        self._scroll_to(start)
        rows, columns = slice(0, stop - start), slice(0, self._layout.width)
        totals = self._totals[rows, columns]
        return self._sums[rows, columns] / np.where(totals > 0, totals, 1)

    def _scroll_to(self, top: int) -> None:
        step = 0 if self._top is None else top - self._top
        self._top = top
        if not step:
            return
        for sums in (self._sums, self._totals):
            kept_rows = max(len(sums) - step, 0)
            sums[:kept_rows] = sums[step:].copy() if kept_rows else 0
            sums[kept_rows:] = 0


def kept(layout: Layout, row: int, col: int, values: np.ndarray) -> np.ndarray:
    """Returns the part of a window's values ([window height, window width, ...]) that it keeps."""
    span, across = layout.rows[row], layout.cols[col]
    return values[
        span.keep_start - span.start : span.keep_stop - span.start,
        across.keep_start - across.start : across.keep_stop - across.start,
    ]


def _cosine_ramp(centre: np.ndarray, patch_size: int, overlap: int) -> np.ndarray:
    dead = min(DEAD_MARGIN_PX, overlap // 4)
    length = max(overlap - 2 * dead, 1)
    edge_distance = np.minimum(centre, patch_size - centre) - dead
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(edge_distance / length, 0, 1)))
