"""Assessments as text: what was done, what was found, and everything that was left out."""

import math
from collections.abc import Mapping
from typing import Any

from landcover_tf.accuracy import interval_sentences
from landcover_tf.accuracy.assessment_tables import drawn_points, number
from landcover_tf.accuracy.matching import DUPLICATE
from landcover_tf.accuracy.summaries import FEW_BLOCKS
from landcover_tf.errors import listed
from landcover_tf.rasters.pixel_sizes import NO_AREA

_NO_WIDTH = 1e-9
"""Widths of intervals of shares below which they are rounding errors."""


def sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns what was done, with the main figure, and everything that was left out."""
    if values["kind"] == "compare":
        return _compare_sentences(values)
    found = [*_point_sentences(values["points"]), *_map_sentences(values)]
    found += _calibration_sentences(values.get("calibration"))
    overall = number(values["overall_accuracy"])
    if not values["probability_sample"]:
        return [
            f"Overall agreement with these points is {overall}. They are not a probability "
            "sample of the map, so nothing follows for the rest of it: there are no areas and "
            "no intervals.",
            *found,
        ]
    percent = f"{100 * values['confidence']:g} %"
    first = (
        f"Overall accuracy is {overall}, {percent} interval in brackets; estimators of "
        f"{values['estimator']}, strata from {values['strata_source']}."
    )
    found += _design_sentences(values) + _missing_sentences(values)
    unmapped = values["points"]["where_the_map_has_no_class"]
    if unmapped:
        found.append(
            f"{unmapped} points lie where this map has no class; "
            "they stay in their strata, and all figures are about the mapped part."
        )
    found += _coverage_sentences(values)
    if values["assessed_area_ha"] is None:
        found.append(
            f"There are no hectares, and shares count the pixels of the sampled map: {NO_AREA}."
        )
    for code, pixels in values["strata_left_out"].items():
        found.append(f"Stratum {code} ({pixels:,} px) is left out of every figure.")
    found += _certainty_sentences(values)
    return [first, *found]


def _point_sentences(points: Mapping[str, Any]) -> list[str]:
    left_out = [f"{len(ids)} {reason}" for reason, ids in points["excluded"].items()]
    if points.get("in_strata_left_out"):
        left_out.append(f"{points['in_strata_left_out']} in strata that were left out")
    found = [
        f"{points['used']} of {points['given']} reference points were used; left out: "
        f"{', '.join(left_out) or 'none'}."
    ]
    if points["reprojected_from"]:
        found.append(f"The points were reprojected from {points['reprojected_from']}.")
    if points["assumed_crs"]:
        found.append(
            "Nothing in their file names the reference system of their x and y, which were read in "
            f"{points['assumed_crs']}."
        )
    return found


def _map_sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns how many pixels of the map have a class, and why the others have none."""
    pixels, legend = values["map_pixels"], values["legend"]
    total = pixels["mapped"] + pixels["no_data"] + sum(pixels["excluded"].values())
    parts = [f"{_pixels(pixels['mapped'], total)} have a class of {_legend(values)}"]
    parts.append(f"{_pixels(pixels['no_data'], total)} have none ({legend['nodata_name']})")
    parts += [
        f"{_pixels(n, total)} have code {code}, which was read as no data by request"
        for code, n in pixels["excluded"].items()
    ]
    return [f"Of the map's {total:,} pixels, {'; '.join(parts)}."]


def _legend(values: Mapping[str, Any]) -> str:
    name = f"legend {values['legend']['name']}"
    assumed = " (assumed: the map's tags name none, nor does --legend)"
    return f"{name}{assumed if values['legend_assumed'] else ''}"


def _design_sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns how the points were drawn, and what of another map than this could not be drawn."""
    design = values["design"]
    if design is None:
        return []
    goal = "" if design["target_se"] is None else f", target standard error {design['target_se']:g}"
    found = [
        f"The design drew {design['points']} points from {design['map']}: {design['allocation']} "
        f"allocation, seed {design['seed']}{goal}."
    ]
    left_out = [f"{n:,} of code {code}" for code, n in design["excluded_pixels"].items()]
    if design["map_sha256"] != values["map_sha256"]:
        found.append(
            f"It could not draw {design['nodata_pixels']:,} pixels without class"
            f"{''.join(f', and {part} by request' for part in left_out)}."
        )
    return found


def _missing_sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns how many points of the sample have no usable label, and what that may do."""
    points = values["points"]
    if values["design"] is None:
        reasons = points["excluded"].items()
        missing = sum(len(ids) for reason, ids in reasons if reason != DUPLICATE)
        drawn = missing + points["used"] + points["in_strata_left_out"]
    else:
        drawn = sum(n for n in drawn_points(values).values() if n is not None)
        missing = drawn - points["used"]
    if not missing:
        return []
    return [
        f"{missing} of {drawn} points of the sample were not used for want of a label or a place. "
        "The figures assume that they are like the other points of their strata. If they have no "
        "label because they are hard, the map is probably wrong there more often, and its accuracy "
        "is overestimated."
    ]


def _pixels(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)"


def _coverage_sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns what part of the map the figures are about, unless it is all of it."""
    mapped, inside = values["map_pixels"]["mapped"], values["map_pixels"]["in_strata"]
    whole_ha, assessed_ha = values["map_area_ha"], values["assessed_area_ha"]
    if inside is not None:
        part = (
            ""
            if whole_ha is None
            else f", {whole_ha * inside / mapped:,.1f} ha of {whole_ha:,.1f} ha"
        )
        text = (
            f"All figures, areas included, are about the strata that the points were drawn from: "
            f"{inside:,} of the {mapped:,} pixels that the map classifies{part}."
        )
        return [text] if inside < mapped else []
    estimated = (
        "Areas on the map are estimated from the points as well, because the record of the design "
        "does not say where the strata lie; give the map that was sampled as --strata-map, and "
        "they are counted."
    )
    if whole_ha and assessed_ha and f"{assessed_ha:,.1f}" == f"{whole_ha:,.1f}":
        return [estimated]
    text = (
        "All figures, areas included, are about the strata that the points were drawn from, not "
        "about what the map classifies outside of them"
    )
    if whole_ha and assessed_ha:
        text += (
            f": by the points it classifies {assessed_ha:,.1f} ha of the strata, and "
            f"{whole_ha:,.1f} ha in all"
        )
    return [f"{text}.", estimated]


def _compare_sentences(values: Mapping[str, Any]) -> list[str]:
    pixels, blocks = values["pixels"], values["blocks"]
    side = f"{values['block_m']:,.0f} m" if values["block_m"] else f"{values['block_px']} px"
    found = [
        f"Overall agreement is {number(values['overall_accuracy'])}. The reference is a map with "
        "errors of its own: this is agreement with it, not accuracy.",
        f"{pixels['compared']:,} pixels were compared; left out: "
        f"{pixels['without_reference_class']:,} without class in the reference, "
        f"{pixels['without_map_class']:,} without class in the map, {pixels['without_both']:,} in "
        "both.",
    ]
    assumed = " (assumed: neither its tags nor --reference-legend name one)"
    found.append(
        f"The map is of {_legend(values)}, the reference of legend {values['reference_legend']}"
        f"{assumed if values['reference_legend_assumed'] else ''}."
    )
    if blocks < 2:
        found.append(f"All of them lie in one square of {side}, so there are no intervals.")
    else:
        found.append(
            f"Intervals are {100 * values['confidence']:g} %, from {values['bootstrap_samples']} "
            f"resamplings of {blocks} squares of {side} with seed {values['seed']}."
        )
    for code, count in values["excluded_map_pixels"].items():
        found.append(f"Map code {code} ({count:,} px) was read as no data by request.")
    unknown = values["unknown_reference_codes"]
    if unknown:
        counts = ", ".join(f"{code} ({n:,} px)" for code, n in unknown.items())
        found.append(
            f"Reference codes {counts} have no class in the legend and were read as no data by "
            "request."
        )
    if 2 <= blocks < FEW_BLOCKS:
        found.append(f"{blocks} squares are few: take the intervals as rough.")
    found += interval_sentences.of_comparison(values)
    return found


def _calibration_sentences(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    without = found["points_without_probabilities"]
    if not found["points"]:
        return ["The probabilities have no data at all points."]
    sentences = [
        f"At the {found['points']} points with probabilities, the likeliest class has a mean "
        f"probability of {found['mean_confidence']:.3f} and is right for "
        f"{found['accuracy_of_the_likeliest_class']:.3f} of the area they stand for; the Brier "
        f"score is {found['brier_score']:.3f}."
    ]
    if without:
        sentences.append(
            f"At {len(without)} points the probabilities have no data, and this leaves them out: "
            f"{listed(without)}."
        )
    return sentences


def _certainty_sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns what intervals of zero width mean, and areas of classes that no point has."""
    complete = [s["points"] >= s["pixels"] for s in values["strata"]]
    if all(complete):
        return []  # Every pixel was labelled: such figures are certain.
    confidence, found = values["confidence"], []
    sure = _without_width(values)
    if sure:
        strata = "stratum that was not labelled completely" if any(complete) else "stratum"
        found.append(
            f"Intervals have no width for {'; '.join(sure)}: the points of each {strata} are all "
            "alike in this, which means few points rather than certainty (where n points are "
            f"alike, up to about {-math.log(1 - confidence):.2g}/n of what they stand for may be "
            f"otherwise, at {100 * confidence:g} % confidence)."
        )
    unmet = [c["name"] for c in values["classes"] if c["area_fraction"]["value"] == 0]
    if unmet:
        found.append(
            f"No point where the map has a class has {', '.join(unmet)} in the reference: of their "
            f"areas an upper bound is given, which holds with {100 * confidence:g} % confidence "
            "(rule of three)."
        )
    return found


def _without_width(values: Mapping[str, Any]) -> list[str]:
    """Returns the figures whose interval has no width although they are estimates."""
    totals = {
        "overall_accuracy": "overall accuracy",
        "mean_f1": "mean F1",
        "mean_iou": "mean IoU",
    }
    names = {
        "users_accuracy": "user's accuracy",
        "producers_accuracy": "producer's accuracy",
        "f1": "F1",
        "iou": "IoU",
        "area_fraction": "the area",
        "mapped_fraction": "the area on the map",
    }
    found = [name for key, name in totals.items() if _has_no_width(values[key])]
    for key, name in names.items():
        # Of a class that no point is mapped as, the map may be known to have none.
        figures = [c for c in values["classes"] if c[key]["value"] or key != "mapped_fraction"]
        of = [c["name"] for c in figures if _has_no_width(c[key])]
        found += [f"{name} of {', '.join(of)}"] if of else []
    return found


def _has_no_width(figure: Mapping[str, float | None]) -> bool:
    """Returns whether an estimate has an interval of no width; what was counted has none."""
    low, high = figure.get("low"), figure.get("high")
    # Equal residuals leave a rounding error of their mean.
    return low is not None and high is not None and high - low < _NO_WIDTH
