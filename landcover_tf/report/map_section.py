"""Section of the report on the map itself: how it was made and how much of it is empty."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio

from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.files import beside, read_json
from landcover_tf.legend import Legend
from landcover_tf.report.page import Section, Table, class_pixels, percent

APPLICABILITY = "applicability.json"

# GDAL's own; it tells of the file, not of the map.
_FORMAT_TAGS = frozenset({"AREA_OR_POINT"})


def map_provenance(map_path: Path, legend: Legend) -> Section:
    """Returns the provenance tags of a map, its share of no data and how far the model applies.

    Args:
        map_path: A class map; the tags are those that `landcover predict` writes, or others'.
        legend: Classes of the map.

    Raises:
        RasterError: The map cannot be read or is not uint8.
        ConfigError: The file `applicability.json` beside the map is something else.
    """
    counts, _, _ = class_pixels(map_path)
    total = sum(counts.values())
    empty = counts.get(legend.nodata, 0)
    paragraphs = [
        f"{empty:,} of the {total:,} pixels of {map_path.name} ({percent(empty / total)}) have no "
        "class: the image has no data there, or a mask left them out."
    ]
    tables = []
    tags = _tags(map_path)
    if tags:
        rows = [(name.replace("_", " "), value) for name, value in tags.items()]
        tables.append(
            Table(header=("item", "value"), rows=rows, caption=f"Tags of {map_path.name}")
        )
    else:
        paragraphs.append(f"{map_path.name} has no tags that tell how it was made.")
    path = beside(map_path, APPLICABILITY)
    if path.is_file():
        sentence, table = _applicability(path)
        paragraphs.append(sentence)
        tables.append(table)
    return Section(
        id="map-provenance", title="How the map was made", paragraphs=paragraphs, tables=tables
    )


def _tags(map_path: Path) -> dict[str, str]:
    try:
        with rasterio.open(map_path) as raster:
            return {k: v for k, v in raster.tags().items() if k not in _FORMAT_TAGS}
    except rasterio.errors.RasterioIOError as error:
        raise RasterError(f"cannot read the map {map_path}: {error}") from error


def _applicability(path: Path) -> tuple[str, Table]:
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
        Table(
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
