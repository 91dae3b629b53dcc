"""Assessments as tables, which every report of them shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landcover_tf.accuracy.summaries import SCHEMA_VERSION
from landcover_tf.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Rows of text under a header; the first column names the row."""

    caption: str = ""
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


def drawn_points(values: Mapping[str, Any]) -> dict[int, int | None]:
    """Returns the points drawn from each stratum of an estimate, None where no record tells."""
    strata = values["design"]["strata"] if values["design"] else []
    drawn = {s["code"]: s["points"] for s in strata}
    return {s["code"]: drawn.get(s["code"]) for s in values["strata"]}


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
        drawn = drawn_points(values)
        found.append(
            TextTable(
                caption="Strata",
                header=("code", "pixels", "drawn points", "labelled points"),
                rows=[
                    (
                        str(s["code"]), f"{s['pixels']:,}",
                        "-" if (n := drawn[s["code"]]) is None else str(n), str(s["points"]),
                    )
                    for s in values["strata"]
                ],
            )
        )  # fmt: skip
    found.append(_matrix(values, "confusion_counts", "Points by class", "{:d}"))
    if values["probability_sample"]:
        caption = "Estimated share of the mapped area"
        found.append(_matrix(values, "confusion_area_fractions", caption, "{:.4f}"))
    return found


def _area(figure: Mapping[str, float | None], digits: int) -> str:
    """Returns an area with its interval, or the upper bound of one that no point has."""
    if figure["value"] == 0 and figure.get("high"):
        return f"< {figure['high']:,.{digits}f}"
    return number(figure, digits)


def _area_table(classes: Sequence[Mapping[str, Any]]) -> TextTable:
    """Returns areas on the map and estimated; either may have no hectares, as in degrees."""
    counted = classes[0]["mapped_pixels"] is not None
    header, columns = ["class"], [[c["name"] for c in classes]]
    if classes[0]["mapped_area_ha"] is not None:
        header.append("mapped ha")
        columns.append([_area(c["mapped_area_ha"], 1) for c in classes])
    elif counted:
        header.append("mapped pixels")
        columns.append([f"{c['mapped_pixels']:,}" for c in classes])
    else:
        header.append("mapped share")
        columns.append([_area(c["mapped_fraction"], 4) for c in classes])
    if classes[0]["area_ha"] is not None:
        header.append("estimated ha")
        columns.append([_area(c["area_ha"], 1) for c in classes])
    header.append("estimated share")
    columns.append([_area(c["area_fraction"], 4) for c in classes])
    how = "counted on the map" if counted else "on the map, estimated from the points"
    return TextTable(
        caption=f"Area: {how}, and corrected for the map's errors",
        header=header,
        rows=list(zip(*columns, strict=True)),
    )


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


def _share(value: float | None) -> str:
    return number({"value": value})
