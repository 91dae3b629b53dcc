"""The page itself: sections of text, tables and pictures around the map viewer."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from landcover_tf.errors import RasterError
from landcover_tf.files import write_text
from landcover_tf.legend import LandCoverClass, Legend
from landcover_tf.pixel_sizes import pixel_area_m2
from landcover_tf.provenance import VERSION
from landcover_tf.report.map_tiles import TilePyramid


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a header; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture embedded in the page."""

    url: str
    alt: str

    @staticmethod
    def from_file(path: Path, alt: str) -> "Picture":
        """Returns a PNG file as an embedded picture."""
        text = base64.b64encode(path.read_bytes()).decode()
        return Picture(url=f"data:image/png;base64,{text}", alt=alt)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading of the page and what stands below it."""

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, kw_only=True)
class Card:
    """A figure worth a large font."""

    value: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything the template needs."""

    title: str
    subtitle: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = ()
    viewer: dict[str, Any] | None = field(default=None)
    """What `viewer_data` returned, when the page shows a map."""


def percent(fraction: float) -> str:
    """Returns a share as text."""
    return f"{100 * fraction:.1f} %"


def write_page(page: Page, path: Path) -> None:
    """Writes the page as one HTML file that needs no network."""
    folder = resources.files("landcover_tf.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((folder / "templates" / "report.html.j2").read_text())
    text = template.render(
        title=page.title,
        subtitle=page.subtitle,
        cards=page.cards,
        sections=page.sections,
        viewer=_script_safe(page.viewer) if page.viewer else "",
        viewer_folder=(page.viewer or {}).get("pyramid", {}).get("folder", ""),
        viewer_js=[(folder / "templates" / n).read_text() for n in ("tiles.js", "viewer.js")],
        style=(folder / "templates" / "style.css").read_text(),
        vendor_js=(folder / "vendor" / "ol.js").read_text(),
        vendor_css=(folder / "vendor" / "ol.css").read_text(),
        version=VERSION,
    )
    write_text(path, text)


def viewer_data(pyramid: TilePyramid, legend: Legend, map_path: Path) -> dict[str, Any]:
    """Returns what the viewer script reads: tiles, classes with their areas, the no-data code.

    Classes that the legend lacks but the map names, such as uncertain pixels, are listed last.
    """
    counts, pixel_m2, named = class_pixels(map_path)
    mapped = max(sum(n for code, n in counts.items() if code != legend.nodata), 1)

    def describe(land_cover: LandCoverClass) -> dict[str, Any]:
        pixels = counts.get(land_cover.code, 0)
        return {
            "code": land_cover.code,
            "name": land_cover.name,
            "color": land_cover.color,
            "rgb": list(land_cover.rgb),
            "pixels": pixels,
            "area_ha": None if pixel_m2 is None else pixels * pixel_m2 / 10_000,
            "fraction": pixels / mapped,
        }

    return {
        "pyramid": pyramid.description,
        "tiles": pyramid.embedded,
        "classes": [
            describe(c)
            for c in (*legend.classes, *(c for c in named if c.code not in legend.codes))
        ],
        "nodata": legend.nodata,
    }


def class_pixels(map_path: Path) -> tuple[dict[int, int], float | None, list[LandCoverClass]]:
    """Returns the pixels of each code of a map, the area of one in m2, and the classes it names.

    The area is None where pixels have no common one. Reads block by block.

    Raises:
        RasterError: The map cannot be read or is not a uint8 raster.
    """
    try:
        with rasterio.open(map_path) as raster:
            if raster.dtypes[0] != "uint8":
                raise RasterError(f"{map_path} must be a uint8 class map, got {raster.dtypes[0]}")
            counts = np.zeros(256, np.int64)
            for _, window in raster.block_windows(1):
                block = raster.read(1, window=window)
                counts += np.bincount(block.ravel(), minlength=256)
            area = pixel_area_m2(raster.transform, raster.crs, raster.shape)
            named = _named_classes(raster)
    except rasterio.errors.RasterioIOError as error:
        raise RasterError(f"cannot read the map {map_path}: {error}") from error
    return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}, area, named


def _named_classes(raster: rasterio.DatasetReader) -> list[LandCoverClass]:
    """Returns the classes that tags CLASS_code and the colour table describe."""
    if raster.colorinterp[0] != ColorInterp.palette:
        return []
    colours = raster.colormap(1)
    names = {
        int(tag.removeprefix("CLASS_")): name
        for tag, name in raster.tags(1).items()
        if tag.removeprefix("CLASS_").isdecimal()
    }
    return [
        LandCoverClass(code=code, name=name, color="#{:02x}{:02x}{:02x}".format(*colours[code][:3]))
        for code, name in sorted(names.items())
        if code in colours
    ]


def _script_safe(value: dict[str, Any]) -> str:
    # "</script>" inside a class name must not end the element.
    return json.dumps(value).replace("<", "\\u003c")
