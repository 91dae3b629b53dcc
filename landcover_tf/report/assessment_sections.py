"""Sections of the report on what `landcover assess` found about maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_tf.accuracy import assessment_files, assessment_sentences, assessment_tables
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.page import Picture, Section
from landcover_tf.system.files import read_json


def assessments(paths: Sequence[Path], shown_map: MapFacts | None) -> list[Section]:
    """Returns what `landcover assess` found about maps: sentences, tables, pictures.

    Args:
        paths: estimate.json and compare.json files, beside their pictures.
        shown_map: The map of the page's viewer, None if there is none.

    Raises:
        ConfigError: A file is something else.
    """
    found: list[Section] = []
    for path in paths:
        values = read_json(path)
        assessment_tables.check(values, str(path))
        name = f"assessment-{values['kind']}"
        same = sum(s.id == name or s.id.startswith(f"{name}-") for s in found)
        section_id = f"{name}-{same + 1}" if same else name
        other = shown_map is not None and values["map_sha256"] != shown_map.sha256
        found.append(_assessment(values, path.parent, section_id, shown_map if other else None))
    return found


def _assessment(
    values: Mapping[str, Any], folder: Path, section_id: str, other_map: MapFacts | None
) -> Section:
    """Returns one assessment; `other_map` is what the viewer shows instead of its map."""
    picture = folder / assessment_files.PICTURE
    title = f"{assessment_tables.title(values)}: {values['map']}, {values['reference']}"
    about = (
        f"Map {values['map']} (SHA-256 {values['map_sha256']}), reference {values['reference']}."
    )
    if other_map is not None:
        about += (
            f" The viewer of this page shows another file, {other_map.path.name}: these figures "
            "are not about it."
        )
    return Section(
        id=section_id,
        title=title,
        paragraphs=[about, *assessment_sentences.sentences(values)],
        tables=assessment_tables.tables(values),
        pictures=[Picture.from_file(picture, title)] if picture.is_file() else [],
    )
