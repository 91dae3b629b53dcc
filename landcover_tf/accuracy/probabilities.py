"""Class probabilities at reference points: do they add up, and do they mean what they say?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.errors import RasterError, listed
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import opened, read_window

FLOAT_STEP = 1e-4
"""Of probabilities stored as floats, for `require_probabilities`."""


def at_points(
    path: Path, class_map: ClassMap, rows: np.ndarray, cols: np.ndarray, ids: tuple[str, ...]
) -> np.ndarray:
    """Returns class probabilities at pixels of the map, float64 [points, classes], NaN for none.

    Args:
        path: Raster on the map's grid with a band per class in the legend's order; stored
            integers are scaled by the bands' scale. A pixel whose bands all hold the declared
            no-data value has none.
        class_map: The map.
        rows: Integer [points].
        cols: Integer [points].
        ids: Names of the points.

    Raises:
        RasterError: The raster has other bands or another grid, or the values of a pixel are no
            probabilities: outside [0, 1], not numbers, or without the sum of one.
    """
    classes = len(class_map.legend.classes)
    with opened(path, "the probabilities") as raster:
        if raster.count != classes:
            raise RasterError(
                f"{path} must have {classes} bands, one per class of legend "
                f"{class_map.legend.name}, it has {raster.count}"
            )
        if not class_map.grid.same_pixels(RasterGrid.of(raster)):
            raise RasterError(f"{path} must have the grid of {class_map.path}")
        scale = raster.scales[0]
        found = np.full((len(rows), classes), np.nan)
        read = np.zeros(len(rows), bool)
        for i in np.lexsort((cols, rows)):
            pixel = Window(row_off=int(rows[i]), col_off=int(cols[i]), height=1, width=1)
            values = read_window(raster, pixel, None)[:, 0, 0]
            if not _is_nodata(values, raster.nodata):
                found[i] = values * scale
                read[i] = True
        # Each stored integer is off by half a step at most; floats by their rounding.
        step = scale if np.dtype(raster.dtypes[0]).kind in "iu" else FLOAT_STEP
    known = [ids[i] for i in np.flatnonzero(read)]
    require_probabilities(path, found[read], step, "points", known.__getitem__)
    return found


def _is_nodata(values: np.ndarray, nodata: float | None) -> bool:
    if nodata is None:
        return False
    return bool((np.isnan(values) if np.isnan(nodata) else values == nodata).all())


def require_probabilities(
    path: Path, found: np.ndarray, step: float, what: str, name: Callable[[int], str]
) -> None:
    """Refuses values that are no probabilities.

    Args:
        path: Raster they are from.
        found: Float [points, classes].
        step: To half of which they are known.
        what: The rows of `found` are, in the plural, for the message.
        name: Returns that of a row.

    Raises:
        RasterError: Some are not numbers, outside [0, 1], or of a row without the sum of one.
    """
    half, classes = step / 2 + 1e-6, found.shape[1]
    outside = (found < -half) | (found > 1 + half)
    sums = found.sum(axis=1)
    problems = {
        "are not numbers": ~np.isfinite(found).all(axis=1),
        "lie outside [0, 1]": outside.any(axis=1),
        "do not sum to 1": np.abs(sums - 1) > classes * step / 2 + 1e-6,
    }
    for problem, wrong in problems.items():
        if wrong.any():
            named = listed([f"{name(int(i))} (sum {sums[i]:.3f})" for i in np.flatnonzero(wrong)])
            raise RasterError(
                f"{path}: class probabilities {problem} at {what} {named}; predict them again, or "
                "declare the raster's no-data value"
            )


def calibration(
    probabilities: np.ndarray, reference: np.ndarray, weight: np.ndarray, ids: tuple[str, ...]
) -> dict[str, Any]:
    """Returns how far the probabilities can be trusted, estimated for the mapped area.

    Args:
        probabilities: As `at_points` gives them.
        reference: Dense reference class, int64 [points].
        weight: Pixels that each point stands for, float64 [points]; points with 0 do not count.
        ids: Names of the points.
    """
    found, counts = np.isfinite(probabilities).all(axis=1), weight > 0
    known = found & counts
    without = [ids[i] for i in np.flatnonzero(counts & ~found)]
    if not known.any():
        return {"points": 0, "points_without_probabilities": without}
    p, truth, w = probabilities[known], reference[known], weight[known] / weight[known].sum()
    right = p.argmax(axis=1) == truth
    brier = ((p - np.eye(p.shape[1])[truth]) ** 2).sum(axis=1)
    return {
        "points": int(known.sum()),
        "points_without_probabilities": without,
        "mean_confidence": float(w @ p.max(axis=1)),
        "accuracy_of_the_likeliest_class": float(w @ right),
        "brier_score": float(w @ brier),
    }
