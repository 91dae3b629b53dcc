"""The files that a scene is made of beside its product, told apart by content."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from landcover_tf.configs.settings_changes import change
from landcover_tf.errors import LabelError, RasterError
from landcover_tf.rasters.raster_windows import opened
from landcover_tf.sentinel2.cloud_rasters import mask_of
from landcover_tf.sentinel2.label_rasters import LabelRaster
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.settings import Settings
from landcover_tf.system.files import sha256_of

FILES = ("ground_truth", "cloud_mask")
"""Settings that name files, which may be moved."""
_BESIDE = (".aux.xml", ".ovr", ".msk")
"""Files that programs write beside rasters when they show them."""


def files_of(
    product: SafeProduct, settings: Settings, labels: Sequence[LabelRaster]
) -> dict[str, list[Path] | None]:
    """Returns the files that a product needs, by the setting that names them; None without one.

    Those of a .vrt follow it, because it holds no pixels itself. A cloud mask that is not there is
    left out; reading it tells.

    Args:
        product: Its metadata has been read.
        settings: How the scene is made.
        labels: The label rasters of `settings.ground_truth` to use for the product.
    """
    masks = None
    if settings.cloud_mask is not None:
        with suppress(RasterError):
            masks = [mask_of(settings.cloud_mask, product)]
        masks = [path for path in masks or () if path.is_file()]
    return {
        "ground_truth": None
        if settings.ground_truth is None
        else _with_parts(raster.path for raster in labels),
        "cloud_mask": None if masks is None else _with_parts(masks),
    }


def describe(files: Mapping[str, Sequence[Path] | None], settings: Settings) -> dict[str, Any]:
    """Returns plain values for `scene.json` that tell these inputs from others."""
    described: dict[str, Any] = {
        name: None if paths is None else [_describe(path) for path in paths]
        for name, paths in files.items()
    }
    return described | {"crosswalk": _crosswalk(settings)}


def changes(
    before: Mapping[str, Any],
    files: Mapping[str, Sequence[Path] | None],
    settings: Settings,
) -> list[str]:
    """Returns the settings whose files hold other content than when a scene was made.

    Cloud masks that were removed since have not changed.

    Args:
        before: What `describe` returned then.
        files: What `files_of` returns now.
        settings: How the scene is to be made now.
    """
    changed = []
    for name, paths in files.items():
        known = before.get(name)
        if known and name == "cloud_mask" and paths == []:
            continue
        if (known is None) != (paths is None) or not _same(known or (), paths or ()):
            then, now = (
                None if paths is None else ", ".join(Path(p).name for p in paths)
                for paths in (None if known is None else [k["path"] for k in known], paths)
            )
            changed.append(
                f"the content of {name} {now}" if then == now else change(name, then, now)
            )
    if before.get("crosswalk") != _crosswalk(settings):
        changed.append("source_legend or legend")
    return changed


def _with_parts(paths: Iterable[Path]) -> list[Path]:
    """Returns files, each .vrt before the files that it shows; what is no local file is left out.

    Raises:
        LabelError: A .vrt cannot be read.
    """
    found: dict[Path, None] = {}
    pending = list(paths)[::-1]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found[path] = None
        if path.suffix.lower() == ".vrt":
            with opened(path, "the label raster", error=LabelError) as raster:
                parts = [Path(name) for name in raster.files if not name.endswith(_BESIDE)]
            pending += [part for part in sorted(parts, reverse=True) if part.is_file()]
    return list(found)


def _describe(path: Path) -> dict[str, Any]:
    try:
        return _stamp(path) | {"sha256": _hash_of(**_stamp(path))}
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error}") from error


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
    }


# Scenes share large rasters.
@lru_cache(maxsize=4096)
def _hash_of(*, path: str, bytes: int, modified_ns: int) -> str:
    return sha256_of(path)


def _same(known: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> bool:
    """Returns whether files hold what described ones held, whatever their names."""
    return len(known) == len(paths) and all(map(_is_described, paths, known))


def _is_described(path: Path, known: Mapping[str, Any]) -> bool:
    try:
        stamp = _stamp(path)
        if stamp["bytes"] != known["bytes"]:
            return False
        # The hash of a large raster takes a while. Another file may have the same size and time:
        # archives and copies keep them.
        return all(known[key] == value for key, value in stamp.items()) or (
            _hash_of(**stamp) == known["sha256"]
        )
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error}") from error


def _crosswalk(settings: Settings) -> dict[str, int] | None:
    if settings.ground_truth is None:
        return None
    codes = settings.load_crosswalk().codes
    return {str(source): target for source, target in sorted(codes.items())}
