"""Assessments as text: the sentences and tables that every report of them shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landcover_tf.accuracy.summaries import FEW_BLOCKS, SCHEMA_VERSION
from landcover_tf.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Rows of text under a header; the first column names the row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def check(values: Any, where: str) -> None:
    """Raises ConfigError unless `values` are those of an estimate.json or a compare.json."""
    kinds = ("estimate", "compare")
    if (
        not isinstance(values, dict)
        or values.get("kind") not in kinds
        or values.get("schema_version") != SCHEMA_VERSION
    ):
        raise ConfigError(
            f"{where} is not an assessment of schema version {SCHEMA_VERSION}; expected the "
            "estimate.json or compare.json of `landcover assess`, run it again if it is older"
        )


def title(values: Mapping[str, Any]) -> str:
    """Returns the heading, which says whether this is accuracy or agreement."""
    if values["kind"] == "compare":
        return "Agreement with a reference map"
    if values["probability_sample"]:
        return "Accuracy and area of the map"
    return "Agreement with reference points"


def sentences(values: Mapping[str, Any]) -> list[str]:
    """Returns what was done, with the main figure, and everything that was left out."""
    if values["kind"] == "compare":
        return _compare_sentences(values)
    points = values["points"]
    left_out = [f"{len(ids)} {reason}" for reason, ids in points["excluded"].items()]
    if points.get("in_strata_left_out"):
        left_out.append(f"{points['in_strata_left_out']} in strata that were left out")
    found = [
        f"{points['used']} of {points['given']} reference points were used; left out: "
        f"{', '.join(left_out) or 'none'}."
    ]
    if points["reprojected_from"]:
        found.append(f"The points were reprojected from {points['reprojected_from']}.")
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
    if points["where_the_map_has_no_class"]:
        found.append(
            f"{points['where_the_map_has_no_class']} points lie where this map has no class; "
            "they stay in their strata, and all figures are about the mapped part."
        )
    found += _coverage_sentences(values)
    if values["assessed_area_ha"] is None:
        found.append(
            "The sampled map has no projected CRS: shares count its pixels, whose ground area may "
            "differ, and there are no hectares."
        )
    for code, pixels in values["strata_left_out"].items():
        found.append(f"Stratum {code} ({pixels:,} px) is left out of every figure.")
    sure = [c["name"] for c in values["classes"] if _certain(c["users_accuracy"])]
    if sure:
        found.append(
            f"No error was found among the points of {', '.join(sure)}: an interval of zero "
            "means few points rather than perfection (with n points up to about 3/n may be wrong)."
        )
    return [first, *found]


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
    text = (
        "All figures, areas included, are about the strata that the points were drawn from, not "
        "about what the map classifies outside of them"
    )
    if whole_ha is None or assessed_ha is None:
        return [f"{text}."]
    if f"{assessed_ha:,.1f}" == f"{whole_ha:,.1f}":
        return []
    return [
        f"{text}: by the points it classifies {assessed_ha:,.1f} ha of the strata, and "
        f"{whole_ha:,.1f} ha in all. Areas on the map are also estimated from the points; give "
        "the map that was sampled as --strata-map, and they are counted."
    ]


def tables(values: Mapping[str, Any]) -> list[TextTable]:
    """Returns the tables of an assessment."""
    return _compare_tables(values) if values["kind"] == "compare" else _estimate_tables(values)


def number(figure: Mapping[str, float | None], digits: int = 3) -> str:
    """Returns a figure and, where there is one, its interval: `0.912 [0.890, 0.934]`."""
    value, low, high = figure["value"], figure.get("low"), figure.get("high")
    if value is None:
        return "-"
    text = f"{value:,.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _calibration_sentences(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if not found["points"]:
        return ["The probabilities have no data at all points."]
    return [
        f"At the {found['points']} points with probabilities, the likeliest class has a mean "
        f"probability of {found['mean_confidence']:.3f} and is right for "
        f"{found['accuracy_of_the_likeliest_class']:.3f} of the area they stand for; the Brier "
        f"score is {found['brier_score']:.3f}."
    ]


def _estimate_tables(values: Mapping[str, Any]) -> list[TextTable]:
    classes = values["classes"]
    rows = [
        (
            c["name"], str(c["map_points"]), str(c["reference_points"]),
            *(number(c[key]) for key in ("users_accuracy", "producers_accuracy", "f1", "iou")),
        )
        for c in classes
    ]  # fmt: skip
    word = "accuracy" if values["probability_sample"] else "agreement"
    header = (
        "class", "points on the map", "in the reference", f"user's {word}", f"producer's {word}",
        "F1", "IoU",
    )  # fmt: skip
    totals = [
        ("overall", number(values["overall_accuracy"])),
        ("mean F1", number(values["mean_f1"])),
        ("mean IoU", number(values["mean_iou"])),
    ]
    found = [
        TextTable(caption="All classes", header=("", "value"), rows=totals),
        TextTable(caption="By class", header=header, rows=rows),
    ]
    if values["probability_sample"]:
        found.append(_area_table(classes))
        found.append(
            TextTable(
                caption="Strata",
                header=("code", "pixels", "labelled points"),
                rows=[
                    (str(s["code"]), f"{s['pixels']:,}", str(s["points"])) for s in values["strata"]
                ],
            )
        )
    found.append(_matrix(values, "confusion_counts", "Points by class", "{:d}"))
    if values["probability_sample"]:
        caption = "Estimated share of the mapped area"
        found.append(_matrix(values, "confusion_area_fractions", caption, "{:.4f}"))
    return found


def _area_table(classes: Sequence[Mapping[str, Any]]) -> TextTable:
    known = None not in (classes[0]["area_ha"], classes[0]["mapped_area_ha"])
    counted = classes[0]["mapped_pixels"] is not None
    rows: list[tuple[str, ...]] = []
    for c in classes:
        share = number(c["area_fraction"], 4)
        if known:
            rows.append((c["name"], number(c["mapped_area_ha"], 1), number(c["area_ha"], 1), share))
        elif counted:
            rows.append((c["name"], f"{c['mapped_pixels']:,}", share))
        else:
            rows.append((c["name"], number(c["mapped_fraction"], 4), share))
    mapped = "mapped ha" if known else "mapped pixels" if counted else "mapped share"
    how = "counted on the map" if counted else "on the map, estimated from the points"
    return TextTable(
        caption=f"Area: {how}, and corrected for the map's errors",
        header=("class", mapped, *(("estimated ha",) if known else ()), "estimated share"),
        rows=rows,
    )


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
    if blocks < 2:
        found.append(f"All of them lie in one square of {side}, so there are no intervals.")
    else:
        found.append(
            f"Intervals are {100 * values['confidence']:g} %, from {values['bootstrap_samples']} "
            f"resamplings of {blocks} squares of {side}."
        )
    for code, count in values["excluded_map_pixels"].items():
        found.append(f"Map code {code} ({count:,} px) was read as no data by request.")
    unknown = values.get("unknown_reference_codes") or {}
    if unknown:
        found.append(
            f"Reference codes {', '.join(unknown)} have no class in the legend and were read as "
            "no data by request."
        )
    if 2 <= blocks < FEW_BLOCKS:
        found.append(f"{blocks} squares are few: take the intervals as rough.")
    return found


def _compare_tables(values: Mapping[str, Any]) -> list[TextTable]:
    classes = values["classes"]
    names = [c["name"] for c in classes]
    seen = [i for i, c in enumerate(classes) if c["reference_pixels"]]
    rows = [
        (
            c["name"], f"{c['reference_pixels']:,}", f"{c['map_pixels']:,}",
            *(number(c[key]) for key in ("users_accuracy", "producers_accuracy", "f1", "iou")),
        )
        for c in classes
    ]  # fmt: skip

    def part(row: Mapping[str, Any], *more: str) -> tuple[str, ...]:
        shares = [_share(row["producers_accuracy"][i]) for i in seen]
        return (row["range"], *more, f"{row['pixels']:,}", _share(row["agreement"]), *shares)

    totals = [
        ("overall", number(values["overall_accuracy"])),
        ("mean F1", number(values["mean_f1"])),
        ("mean IoU", number(values["mean_iou"])),
    ]
    found_of = [names[i] for i in seen]
    return [
        TextTable(caption="All classes", header=("", "agreement"), rows=totals),
        TextTable(
            caption="By class",
            header=("class", "reference px", "map px", "user's", "producer's", "F1", "IoU"),
            rows=rows,
        ),
        TextTable(
            caption="Share found, by size of the reference's objects",
            header=("object", "objects", "pixels", "all", *found_of),
            rows=[part(row, f"{row['objects']:,}") for row in values["by_object_size"]],
        ),
        TextTable(
            caption="Share found, by distance to the reference's class boundaries",
            header=("pixel", "pixels", "all", *found_of),
            rows=[part(row) for row in values["by_boundary_distance"]],
        ),
        _matrix(values, "confusion_counts", "Pixels by class", "{:,d}"),
    ]


def _matrix(values: Mapping[str, Any], key: str, caption: str, form: str) -> TextTable:
    names = [c["name"] for c in values["classes"]]
    rows = values["matrix_rows"]
    columns = "reference" if rows == "map" else "map"
    return TextTable(
        caption=f"{caption}: rows are the {rows}, columns the {columns}",
        header=(f"{rows} \\ {columns}", *names),
        rows=[
            (name, *(form.format(cell) for cell in row))
            for name, row in zip(names, values[key], strict=True)
        ],
    )


def _certain(figure: Mapping[str, float | None]) -> bool:
    return figure["value"] == 1.0 and not figure["standard_error"]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
