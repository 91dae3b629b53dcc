"""Which version numbers a model folder has given, those of withdrawn versions included."""

from pathlib import Path

from landcover_tf.errors import ModelError, OutputError
from landcover_tf.system.files import remove_leftovers, write_text

HIGHEST_VERSION = "highest_version"
"""File beside the versions with the highest number that was given; servers pass over it."""


def next_version(model_folder: Path) -> int:
    """Returns one above the highest version that `.../<name>` ever held, 1 when it held none.

    Maps, logs and clients know a model by its number, so that of a withdrawn one never comes back.

    Raises:
        ModelError: The file that remembers the highest version holds something else.
    """
    versions = [int(p.name) for p in model_folder.glob("*") if p.name.isdigit()]
    return max([*versions, _remembered(model_folder)]) + 1


def require_new(model_folder: Path, version: int) -> None:
    """Refuses a number that the folder holds, or may have given to a version that is gone.

    Raises:
        OutputError: It is not above the highest that was given.
        ModelError: As `next_version`.
    """
    if (model_folder / str(version)).exists():
        raise OutputError(
            f"{model_folder} holds version {version} already; versions are never "
            "overwritten, because a server may be using them"
        )
    following = next_version(model_folder)
    if version < following:
        raise OutputError(
            f"--version must be above {following - 1}, the highest that {model_folder} ever held, "
            f"got {version}: maps and clients know a model by its number, so that of a withdrawn "
            f"version is not given again; leave the flag out for {following}"
        )


def remember(model_folder: Path, version: int) -> None:
    """Notes a number that is given, unless a higher one was.

    Raises:
        ModelError: As `next_version`.
    """
    if version > _remembered(model_folder):
        write_text(model_folder / HIGHEST_VERSION, f"{version}\n")


def remove_unfinished(model_folder: Path) -> None:
    """Removes what killed exports of any version left, and nobody has written to for a while."""
    for path in model_folder.glob(".*.part"):
        remove_leftovers(model_folder / path.name.split(".")[1])


def _remembered(model_folder: Path) -> int:
    """Returns the highest version that was given, 0 where none was or an older export gave it."""
    path = model_folder / HIGHEST_VERSION
    try:
        return int(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise ModelError(
            f"expected the highest version that was exported in {path}, got {error}; write its "
            "number there"
        ) from error
