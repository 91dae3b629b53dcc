"""Section of the report on the map itself: how it was made and how much of it is empty."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landcover_tf.accuracy.assessment_tables import TextTable
from landcover_tf.errors import ConfigError
from landcover_tf.legend import Legend
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.page import Section, percent
from landcover_tf.system.files import beside, read_json

APPLICABILITY = "applicability.json"


def map_provenance(facts: MapFacts, legend: Legend) -> Section:
    """Returns the provenance tags of a map, its share of no data and how far the model applies.

    Args:
        facts: Facts of a class map; the tags are those that `landcover predict` writes, or others'.
        legend: Classes of the map.

    Raises:
        ConfigError: The file `applicability.json` beside the map is something else.
    """
    name, total = facts.path.name, sum(facts.pixels.values())
    empty = facts.pixels.get(legend.nodata, 0)
    paragraphs = [
        f"{empty:,} of the {total:,} pixels of {name} ({percent(empty / total)}) have no "
        "class: the image has no data there, or a mask left them out."
    ]
    tables = []
    if facts.tags:
        rows = [(tag.replace("_", " "), value) for tag, value in facts.tags.items()]
        tables.append(TextTable(header=("item", "value"), rows=rows, caption=f"Tags of {name}"))
    else:
        paragraphs.append(f"{name} has no tags that tell how it was made.")
    path = beside(facts.path, APPLICABILITY)
    if path.is_file():
        sentence, table = _applicability(path)
        paragraphs.append(sentence)
        tables.append(table)
    return Section(
        id="map-provenance", title="How the map was made", paragraphs=paragraphs, tables=tables
    )


def _applicability(path: Path) -> tuple[str, TextTable]:
    """Returns a sentence and the figures behind it."""
    values = read_json(path)
    try:
        where = "within" if values["applicable"] else "outside"
        rows = _applicability_rows(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is not what landcover predict writes beside a map ({error!r}); remove it or "
            "predict again"
        ) from error
    advice = "" if values["applicable"] else "; distrust the map and check scale, offset and season"
    return (
        f"The values of the predicted scene are {where} the range of the training data{advice}. "
        "The stability index tells how differently the scene is composed, which is no fault of it.",
        TextTable(
            header=("measure", "value", "limit"),
            rows=rows,
            caption="The scene against the training data",
        ),
    )


def _applicability_rows(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    limits = values["limits"]
    return [
        (
            "pixels outside the training range",
            percent(values["outside_fraction"]),
            percent(limits["outside_fraction"]),
        ),
        (
            "population stability index, median of the bands",
            f"{values['median_stability_index']:.3f}",
            "-",
        ),
        *((f"of {band}", f"{index:.3f}", "-") for band, index in values["stability_index"].items()),
    ]
