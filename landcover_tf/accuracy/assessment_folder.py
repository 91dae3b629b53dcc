"""Whether an assessment may write into a folder: not over another one, nor over other files."""

from pathlib import Path
from typing import Any, Literal

from landcover_tf.accuracy.assessment_files import PICTURE, REPORT, TABLES
from landcover_tf.errors import ConfigError, OutputError
from landcover_tf.system.files import read_json, sha256_of

AGREEMENT = "agreement.tif"
"""Raster of a comparison, with its style beside it."""


def settings_file(folder: Path, kind: str) -> Path:
    """Returns where the settings of an assessment stand beside its results."""
    return folder / f"assess_{kind}.json"


def require_own(
    folder: Path,
    kind: Literal["estimate", "compare"],
    map_path: Path,
    reference: Path,
    *,
    overwrite: bool,
) -> None:
    """Refuses a folder in which something else would be replaced.

    The same map and reference may be assessed again, as when more points have a label.

    Args:
        folder: Where to write; it may not exist.
        kind: Kind of the assessment.
        map_path: The map; one that cannot be read is left for its reader to tell.
        reference: Points, raster or folder that it is assessed with.
        overwrite: Whatever is there may be replaced.

    Raises:
        OutputError: The folder has the assessment of another map, or with another reference, or
            files that are of none.
    """
    names = [*TABLES, PICTURE, REPORT, f"{kind}.json", settings_file(folder, kind).name]
    if kind == "compare":
        names += [AGREEMENT, Path(AGREEMENT).with_suffix(".qml").name]
    there = [name for name in names if (folder / name).exists()]
    if overwrite or not there or not map_path.is_file():
        return
    found = _values(folder / f"{kind}.json")
    if found.get("kind") != kind:
        problem = f"has {', '.join(there)}, and no {kind}.json of such an assessment"
    elif found.get("map_sha256") != sha256_of(map_path):
        problem = f"has the results of another map, {found.get('map')}, or of an earlier {map_path}"
    elif not _is_same(found, _values(settings_file(folder, kind)), reference):
        problem = f"has the results of {map_path} with another reference, {found.get('reference')}"
    else:
        return
    raise OutputError(
        f"{folder} {problem}; choose another --output-dir, or pass --overwrite to replace them"
    )


def _is_same(found: dict[str, Any], settings: dict[str, Any], reference: Path) -> bool:
    """Returns whether an assessment is with this reference, as far as can be told."""
    given = settings.get("reference") or settings.get("reference_map")
    if given and Path(str(given)).exists() and reference.exists():
        # A relative path holds in the folder of its run only.
        return found.get("reference") == reference.name and Path(str(given)).samefile(reference)
    return found.get("reference") == reference.name


def _values(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except ConfigError:
        return {}
    return values if isinstance(values, dict) else {}
