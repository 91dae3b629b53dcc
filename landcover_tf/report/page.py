"""The page itself: sections of text, tables and pictures around the map viewer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landcover_tf.accuracy.assessment_tables import TextTable
from landcover_tf.legend import LandCoverClass, Legend
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.map_tiles import TilePyramid
from landcover_tf.system.files import write_text
from landcover_tf.system.provenance import VERSION
from landcover_tf.visuals.html_pages import data_url, packaged_text, render


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture embedded in the page."""

    url: str
    alt: str

    @staticmethod
    def from_file(path: Path, alt: str) -> "Picture":
        """Returns a PNG file as an embedded picture."""
        return Picture(url=data_url(path.read_bytes()), alt=alt)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One heading of the page and what stands below it."""

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[TextTable] = ()
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
    package = "landcover_tf.report"
    text = render(
        package,
        "templates/report.html.j2",
        title=page.title,
        subtitle=page.subtitle,
        cards=page.cards,
        sections=page.sections,
        viewer=_script_safe(page.viewer) if page.viewer else "",
        viewer_folder=(page.viewer or {}).get("pyramid", {}).get("folder", ""),
        viewer_js=[packaged_text(package, f"templates/{n}.js") for n in ("tiles", "viewer")],
        style=packaged_text(package, "templates/style.css"),
        vendor_js=packaged_text(package, "vendor/ol.js"),
        vendor_css=packaged_text(package, "vendor/ol.css"),
        version=VERSION,
    )
    write_text(path, text)


def viewer_data(pyramid: TilePyramid, legend: Legend, facts: MapFacts) -> dict[str, Any]:
    """Returns what the viewer script reads: tiles, classes with their areas, the no-data code.

    Classes that the legend lacks but the map names, such as uncertain pixels, are listed last.
    """
    mapped = max(sum(n for code, n in facts.pixels.items() if code != legend.nodata), 1)

    def describe(land_cover: LandCoverClass) -> dict[str, Any]:
        pixels = facts.pixels.get(land_cover.code, 0)
        return {
            "code": land_cover.code,
            "name": land_cover.name,
            "color": land_cover.color,
            "rgb": list(land_cover.rgb),
            "pixels": pixels,
            "area_ha": None if facts.pixel_m2 is None else pixels * facts.pixel_m2 / 10_000,
            "fraction": pixels / mapped,
        }

    more = [c for c in facts.named if c.code not in {legend.nodata, *legend.codes}]
    return {
        "pyramid": pyramid.description,
        "tiles": pyramid.embedded,
        "classes": [describe(c) for c in (*legend.classes, *more)],
        "nodata": legend.nodata,
    }


def _script_safe(value: dict[str, Any]) -> str:
    # "</script>" inside a class name must not end the element.
    return json.dumps(value).replace("<", "\\u003c")
