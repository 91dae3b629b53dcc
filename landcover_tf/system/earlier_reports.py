"""Reports replace earlier ones of this software, and no other file that lies in their place."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from landcover_tf.errors import ConfigError, OutputError
from landcover_tf.system.files import read_json

PAGE_MARK = b'<meta name="generator" content="landcover-tf">'
"""What the first lines of every page of HTML that this software writes contain."""


def require_report(path: Path | None, keys: Collection[str] = ()) -> None:
    """Checks that a page of HTML, or a report in JSON, would replace at most an earlier one.

    Args:
        path: Where it is to be written; None is nowhere.
        keys: Those that the report has; none for a page.

    Raises:
        OutputError: Something else is there.
    """
    if path is None or not path.exists():
        return
    if not (_has_keys(path, keys) if keys else _is_page(path)):
        raise OutputError(
            f"{path} is there already and no report of this program, or one that an earlier "
            "version made; choose another place, or remove it"
        )


def _is_page(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return PAGE_MARK in file.read(1024)
    return False


def _has_keys(path: Path, keys: Collection[str]) -> bool:
    try:
        values = read_json(path)
    except ConfigError:
        return False
    return isinstance(values, dict) and values.keys() >= set(keys)
