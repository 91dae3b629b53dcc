"""Which files a prediction will write, checked before any work against what is there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from landcover_tf.errors import ConfigError, OutputError
from landcover_tf.system import locks
from landcover_tf.system.files import beside, read_json
from serving.options import OutputOptions
from serving.source import Source

CONFIDENCE = "confidence.tif"
ENTROPY = "entropy.tif"
PROBABILITIES = "probabilities.tif"
APPLICABILITY = "applicability.json"
RECORD = "predict.json"
"""The config that made a map."""


def level_rasters(wanted: OutputOptions) -> list[str]:
    """Returns the names of the rasters of levels that are asked for beside a map."""
    flags = {
        CONFIDENCE: wanted.confidence,
        ENTROPY: wanted.entropy,
        PROBABILITIES: wanted.probabilities,
    }
    return [name for name, asked in flags.items() if asked]


def targets(map_path: Path, wanted: OutputOptions) -> list[Path]:
    """Returns the files that a map may bring with it, the map first."""
    names = [*level_rasters(wanted), "areas.csv", APPLICABILITY, RECORD]
    suffixes = {".qml": True, ".png": wanted.picture, ".gpkg": wanted.vector, ".json": wanted.stac}
    return [
        map_path,
        map_path.with_name(f"{map_path.name}.aux.xml"),
        *(beside(map_path, name) for name in names),
        *(map_path.with_suffix(suffix) for suffix, asked in suffixes.items() if asked),
    ]


def read_record(map_path: Path) -> dict[str, Any] | None:
    """Returns the settings beside a map; None if there are none, or they are damaged."""
    try:
        found = read_json(beside(map_path, RECORD))
    except ConfigError:
        return None
    return found if isinstance(found, dict) else None


def former_targets(map_path: Path) -> list[Path]:
    """Returns the files that the map which is there may have brought with it.

    Its record tells. Without one they are unknown, and nothing else of such a name is the map's.
    """
    record = read_record(map_path)
    if record is None:
        return []

    def asked(name: str) -> bool:
        return record.get(name) is True

    wanted = OutputOptions(
        confidence=asked("confidence") or asked("mosaic"),  # It is decided by confidence.
        probabilities=asked("probabilities"),
        entropy=asked("entropy"),
        vector=asked("vector"),
        stac=asked("stac"),
        picture=asked("picture"),
        reference_map=None,
        request_log=None,
    )
    return targets(map_path, wanted.of_mosaic() if asked("mosaic") else wanted)


def work_folder(map_path: Path) -> Path:
    """Returns where a map's unfinished files are, until it is published."""
    return map_path.with_name(f".{map_path.name}.work")


def lock_file(map_path: Path) -> Path:
    """Returns the file that a process holds which makes a map."""
    return map_path.with_name(f".{map_path.name}.lock")


def alone(map_path: Path) -> AbstractContextManager[int]:
    """Returns a context that keeps other processes from making the map.

    Raises:
        OutputError: Another process makes it.
    """
    busy = f"another process makes {map_path}; wait for its end, or choose another --output-map"
    return locks.alone(lock_file(map_path), busy)


def check_targets(
    map_path: Path, wanted: OutputOptions, sources: Sequence[Source], *, overwrite: bool
) -> None:
    """Refuses to replace a file of an input, and any other file unless that is asked for.

    Args:
        map_path: The map.
        wanted: What to write beside it.
        sources: What is read for it.
        overwrite: Files that are no input's may be replaced.

    Raises:
        OutputError: A file is in the way.
    """
    paths = targets(map_path, wanted)
    for path in [*paths, *former_targets(map_path)]:
        for source in sources:
            if source.owns(path):
                raise OutputError(
                    f"{path} would replace a file of the input {source.path}; choose another "
                    "--output-map"
                )
        reference = wanted.reference_map
        if reference is not None and path.resolve() == reference.resolve():
            raise OutputError(f"{path} would replace --reference-map; choose another --output-map")
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise OutputError(
            f"{there[0]} exists already; choose another --output-map or pass --overwrite"
        )
