"""Accuracy and area of a map from a stratified random sample.

Every figure is a ratio R = Y / X of two population totals of indicators, estimated with
Y = sum_h N_h mean_h(y) (Stehman 2014, International Journal of Remote Sensing 35, equations
2 and 27). It holds for strata of any map; where the strata are the classes of the assessed map
itself, it is term by term the estimators of Olofsson et al. (2014), equations 1 to 11.
"""

from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np

from landcover_tf.accuracy.matching import MatchedPoints
from landcover_tf.accuracy.strata import Strata
from landcover_tf.system.files import json_number


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Labelled points of a stratified random sample."""

    mapped: np.ndarray
    """Dense class of the assessed map at each point, -1 where it has none, int64 [points]."""
    reference: np.ndarray
    """Dense class that the reference found, int64 [points]."""
    stratum: np.ndarray
    """Position in `pixels` of the stratum that each point was drawn from, int64 [points]."""
    pixels: np.ndarray
    """Pixels N_h of each stratum, int64 [strata]."""

    @property
    def points(self) -> np.ndarray:
        """Points n_h of each stratum, int64 [strata]."""
        return np.bincount(self.stratum, minlength=len(self.pixels))

    @property
    def stands_for(self) -> np.ndarray:
        """Pixels N_h / n_h that a point of each stratum stands for, float64 [strata]."""
        return np.asarray(self.pixels / np.maximum(self.points, 1))

    @property
    def weight(self) -> np.ndarray:
        """Pixels that each point stands for, float64 [points]."""
        return np.asarray(self.stands_for[self.stratum])

    @staticmethod
    def of(points: MatchedPoints, strata: Strata) -> "Sample":
        """Returns the points of the strata that are not left out."""
        return Sample(
            mapped=points.mapped[strata.used],
            reference=points.reference[strata.used],
            stratum=strata.of_point,
            pixels=strata.pixels,
        )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and how far chance may have carried it."""

    value: float
    """NaN where undefined."""
    standard_error: float
    half_width: float
    """Half the confidence interval; the normal interval is symmetric."""
    bound: float | None = None
    """Upper limit instead, where no point has what is counted and the normal interval is zero."""

    def to_dict(
        self, factor: float = 1.0, upper: float = 1.0, lower: float = 0.0
    ) -> dict[str, float | None]:
        """Returns plain values for JSON; figure and interval are cut where they cannot be.

        Args:
            factor: Unit of the figure, for example hectares of a pixel.
            upper: Largest possible value.
            lower: Least possible value.
        """
        value, half = self.value * factor, self.half_width * factor
        high = value + half if self.bound is None else self.bound * factor

        def within(number: float) -> float | None:
            return json_number(float(np.clip(number, lower, upper)))

        return {
            "value": within(value),
            "standard_error": json_number(self.standard_error * factor),
            "half_width": json_number(half),
            "low": within(value - half),
            "high": within(high),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Accuracy:
    """What a sample says about a map; lists are by dense class."""

    counts: np.ndarray
    """Points by class of the map (row) and of the reference (column), int64 [classes, classes]."""
    proportions: np.ndarray
    """Estimated share of the mapped area of each cell, float64 [classes, classes]."""
    pixels: Estimate
    """Pixels of the assessed area: those of the strata, or the estimated part with a class."""
    overall: Estimate
    users: list[Estimate]
    producers: list[Estimate]
    f1: list[Estimate]
    iou: list[Estimate]
    area: list[Estimate]
    """Share of the mapped area that the class really covers; of a class that no point has,
    an upper bound is known."""
    mapped: list[Estimate]
    """Share of the mapped area that the map gives the class; without error where the strata are
    the map's own classes."""
    area_pixels: list[Estimate]
    """Pixels of the strata that the map has a class for and that the class really covers. Where
    the pixels of that part are known, they times `area` are mostly less uncertain."""
    mapped_pixels: list[Estimate]
    """Pixels of the strata that the map gives the class."""
    mean_f1: Estimate
    """Mean over classes that some reference point has, as in `landcover_tf.accuracy.scores`."""
    mean_iou: Estimate
    """Mean over the same classes."""


def assess(sample: Sample, classes: int, *, confidence: float = 0.95) -> Accuracy:
    """Returns accuracies and area shares with their standard errors.

    Points where the map has no class keep their place in their stratum but count in no figure:
    the figures are about the mapped part of the strata's area. Finite population corrections
    are left out as by Olofsson et al., except that a stratum that was labelled completely has
    no sampling error.

    Args:
        sample: The points; each stratum with pixels has at least one.
        classes: Number of classes.
        confidence: Confidence level of the intervals.
    """
    inside = sample.mapped >= 0
    every = np.arange(classes)
    mapped = ((sample.mapped[:, None] == every) & inside[:, None]).astype(float)
    reference = ((sample.reference[:, None] == every) & inside[:, None]).astype(float)
    both, either = mapped * reference, np.maximum(mapped, reference)
    domain = inside[:, None].astype(float)
    each_domain = np.repeat(domain, classes, axis=1)

    weight = sample.weight * inside
    counts = np.zeros((classes, classes), np.int64)
    cells = np.zeros((classes, classes))
    where = (sample.mapped[inside], sample.reference[inside])
    np.add.at(counts, where, 1)
    np.add.at(cells, where, weight[inside])
    on_map, met = counts.sum(axis=1) > 0, counts.sum(axis=0) > 0
    unmet = _unmet_pixels(sample, confidence)
    unmet_share = min(unmet / weight.sum(), 1.0)

    def bounded(estimates: list[Estimate], known: np.ndarray, bound: float) -> list[Estimate]:
        return [e if k else replace(e, bound=bound) for e, k in zip(estimates, known, strict=True)]

    ratios = partial(_ratios, sample=sample, confidence=confidence)
    totals = partial(_totals, sample=sample, confidence=confidence)
    mean_ratio = partial(_mean_ratio, sample=sample, confidence=confidence)
    return Accuracy(
        counts=counts,
        proportions=cells / weight.sum(),
        pixels=totals(domain)[0],
        overall=ratios(both.sum(axis=1, keepdims=True), domain)[0],
        users=ratios(both, mapped),
        producers=ratios(both, reference),
        f1=ratios(2 * both, mapped + reference),
        iou=ratios(both, either),
        area=bounded(ratios(reference, each_domain), met, unmet_share),
        mapped=bounded(ratios(mapped, each_domain), on_map, unmet_share),
        area_pixels=bounded(totals(reference), met, unmet),
        mapped_pixels=bounded(totals(mapped), on_map, unmet),
        mean_f1=mean_ratio(2 * both[:, met], (mapped + reference)[:, met]),
        mean_iou=mean_ratio(both[:, met], either[:, met]),
    )


def _unmet_pixels(sample: Sample, confidence: float) -> float:
    """Returns how many pixels a class may have that none of the points has.

    With n points, none of which has it, a share of -ln(1 - confidence) / n is as improbable as the
    confidence says (at 95 % the rule of three; Hanley and Lippman-Hand 1983, Journal of the
    American Medical Association 249, page 1743). Of several strata, the class has most pixels if it
    lies in the one whose points stand for most. Strata labelled completely have none of it.
    """
    unknown = sample.stands_for[sample.points < sample.pixels]
    return float(-np.log(1 - confidence) * unknown.max(initial=0.0))


def _ratios(
    top: np.ndarray, bottom: np.ndarray, sample: Sample, confidence: float
) -> list[Estimate]:
    """Returns the ratio of each column's totals; `top` and `bottom` are [points, figures]."""
    values, residuals = _linearised(top, bottom, sample)
    return [
        _estimate(value, residual, sample, confidence)
        for value, residual in zip(values, residuals.T, strict=True)
    ]


def _totals(counted: np.ndarray, sample: Sample, confidence: float) -> list[Estimate]:
    """Returns the total of each column of indicators, [points, figures] (Stehman's equation 2)."""
    return [
        _estimate(value, column, sample, confidence)
        for value, column in zip(sample.weight @ counted, counted.T, strict=True)
    ]


def _mean_ratio(top: np.ndarray, bottom: np.ndarray, sample: Sample, confidence: float) -> Estimate:
    """Returns the mean of the ratios, with the covariances between them."""
    values, residuals = _linearised(top, bottom, sample)
    return _estimate(float(values.mean()), residuals.mean(axis=1), sample, confidence)


def _linearised(
    top: np.ndarray, bottom: np.ndarray, sample: Sample
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ratios, and (y - R x) / X, whose total has the variance of R to first order."""
    total_top, total_bottom = sample.weight @ top, sample.weight @ bottom
    known = total_bottom > 0
    values = np.full(top.shape[1], np.nan)
    np.divide(total_top, total_bottom, out=values, where=known)
    residuals = np.full(top.shape, np.nan)
    np.divide(top - values * bottom, total_bottom, out=residuals, where=known)
    return values, residuals


def _estimate(value: float, residual: np.ndarray, sample: Sample, confidence: float) -> Estimate:
    points = sample.points
    sums = np.bincount(sample.stratum, residual, minlength=len(points))
    means = sums / np.maximum(points, 1)
    squares = np.bincount(
        sample.stratum, (residual - means[sample.stratum]) ** 2, minlength=len(points)
    )
    complete = points >= sample.pixels
    variance = squares / np.maximum(points - 1, 1)
    terms = np.where(complete, 0.0, sample.pixels.astype(float) ** 2 * variance)
    error = float(np.sqrt((terms / np.maximum(points, 1)).sum()))
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return Estimate(value=float(value), standard_error=error, half_width=z * error)


def describe(accuracy: Accuracy, names: list[str], codes: list[int]) -> list[dict[str, Any]]:
    """Returns the per-class figures as plain values for JSON."""
    return [
        {
            "code": codes[i],
            "name": names[i],
            "map_points": int(accuracy.counts[i].sum()),
            "reference_points": int(accuracy.counts[:, i].sum()),
            "users_accuracy": accuracy.users[i].to_dict(),
            "producers_accuracy": accuracy.producers[i].to_dict(),
            "f1": accuracy.f1[i].to_dict(),
            "iou": accuracy.iou[i].to_dict(),
            "area_fraction": accuracy.area[i].to_dict(),
        }
        for i in range(len(codes))
    ]
