"""Stratified random samples of a map: how many points, how many in each class, and where.

Formulas are those of Cochran (1977), Sampling Techniques, chapter 5, as Olofsson et al. (2014),
Remote Sensing of Environment 148, recommend them for maps. The strata are the map's classes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.system.progress import progress

Allocation = Literal["optimal", "proportional", "equal"]
_ORDER = 256
"""Stream of random numbers for the order of points; class codes are the other streams."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnPoints:
    """Pixels drawn from a map, in random order."""

    row: np.ndarray
    """int64 [points]"""
    col: np.ndarray
    """int64 [points]"""
    stratum: np.ndarray
    """Class code of the pixel, int64 [points]."""


def shares(allocation: Allocation, weights: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Returns the share of the points that each stratum gets before any minimum, float [strata].

    Args:
        allocation: `proportional` to area; `optimal` (Neyman), proportional to area times
            standard deviation, which gives overall accuracy its least variance; or `equal`.
        weights: Share W_h of the mapped area.
        deviations: Standard deviation S_h = sqrt(U_h (1 - U_h)) of being correct.
    """
    parts = {
        "optimal": weights * deviations,
        "proportional": weights,
        "equal": np.ones(len(weights)),
    }[allocation]
    # Strata that are all expected to be perfect need no points at all: any shares will do.
    return np.asarray(parts / parts.sum() if parts.sum() > 0 else weights / weights.sum())


def allocate(total: int, share: np.ndarray, pixels: np.ndarray, *, minimum: int) -> np.ndarray:
    """Returns the points of each stratum, int64 [strata].

    Each stratum gets `minimum` points or all its pixels; the others are shared out among the
    strata whose share exceeds that. The sum is `total`, unless the minima exceed it or there
    are not as many pixels.

    Args:
        total: Points to share out.
        share: Share of each stratum, summing to 1.
        pixels: Pixels of each stratum.
        minimum: Least points of a stratum.
    """
    lower = np.minimum(minimum, pixels).astype(np.int64)
    upper = pixels.astype(np.int64)
    total = int(np.clip(total, lower.sum(), upper.sum()))

    # A share of nothing takes what no other stratum has room for.
    share = np.maximum(share, 1e-12)

    def filled(level: float) -> np.ndarray:
        return np.clip(level * share, lower, upper)

    low, high = 0.0, float((upper / share).max())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if filled(middle).sum() < total else (low, middle)
    exact = filled(high)
    points = np.floor(exact + 1e-9).astype(np.int64)
    # The rest goes one by one to the largest remainders, the larger stratum at a tie.
    while (missing := total - int(points.sum())) > 0:
        room = np.flatnonzero(points < upper)
        order = room[np.lexsort((-upper[room], -(exact - points)[room]))]
        points[order[:missing]] += 1
    return points


def expected_standard_error(
    weights: np.ndarray, deviations: np.ndarray, points: np.ndarray
) -> float:
    """Returns sqrt(sum_h W_h^2 S_h^2 / n_h), the standard error that a design promises."""
    return float(np.sqrt((weights**2 * deviations**2 / np.maximum(points, 1)).sum()))


def smallest_sample(
    pixels: np.ndarray, deviations: np.ndarray, share: np.ndarray, *, minimum: int, target_se: float
) -> np.ndarray:
    """Returns the points of each stratum by which overall accuracy gets the wanted standard error.

    Without minima and strata that are too small for their share, they are
    n = sum_h(W_h^2 S_h^2 / a_h) / target_se^2 points, Cochran's (5.24) without the finite
    population correction, which the estimators leave out as well. With optimal shares a_h that is
    (sum_h W_h S_h / target_se)^2, equation 13 of Olofsson et al. (2014).

    Args:
        pixels: Pixels N_h of each stratum, whose share of all is W_h.
        deviations: Standard deviation S_h of being correct.
        share: Share a_h of the points.
        minimum: Least points of a stratum.
        target_se: Standard error of overall accuracy.

    Returns:
        int64 [strata]; all pixels, where no fewer will do.
    """
    weights = pixels / pixels.sum()
    low, high = 1, int(pixels.sum())
    while low < high:
        total = (low + high) // 2
        points = allocate(total, share, pixels, minimum=minimum)
        reached = expected_standard_error(weights, deviations, points) <= target_se * (1 + 1e-9)
        low, high = (low, total) if reached else (total + 1, high)
    return allocate(high, share, pixels, minimum=minimum)


def draw(
    class_map: ClassMap,
    pixels: dict[int, int],
    points: dict[int, int],
    *,
    seed: int,
    rows_per_strip: int,
) -> DrawnPoints:
    """Returns a simple random sample without replacement of the pixels of each class.

    Which pixels are drawn depends on the map and the seed alone: the k-th pixel of a class is
    counted row by row over the whole map, however it is read. A class has a random stream of
    its own, so that its points stay when another class gets more.

    Args:
        class_map: The map.
        pixels: Pixels of each class of the map.
        points: How many to draw of each class.
        seed: Decides which.
        rows_per_strip: Rows read at once.
    """
    wanted = {
        code: np.sort(
            np.random.default_rng([seed, code]).choice(pixels[code], number, replace=False)
        )
        for code, number in points.items()
        if number
    }
    passed = dict.fromkeys(wanted, 0)
    found: list[np.ndarray] = []
    for strip in progress(list(class_map.strips(rows_per_strip)), label="draw points"):
        codes = class_map.read(strip).ravel()
        for code, ranks in wanted.items():
            places = np.flatnonzero(codes == code)
            first, last = np.searchsorted(ranks, (passed[code], passed[code] + len(places)))
            chosen = places[ranks[first:last] - passed[code]]
            passed[code] += len(places)
            row, col = np.divmod(chosen, class_map.grid.width)
            found.append(np.stack([row + strip.row_off, col, np.full(len(chosen), code)]))
    every = np.concatenate(found, axis=1) if found else np.zeros((3, 0), np.int64)
    every = every[:, np.lexsort((every[1], every[0]))]
    # In random order, so that the order tells the interpreter nothing about the map's class.
    every = every[:, np.random.default_rng([seed, _ORDER]).permutation(every.shape[1])]
    return DrawnPoints(row=every[0], col=every[1], stratum=every[2])
