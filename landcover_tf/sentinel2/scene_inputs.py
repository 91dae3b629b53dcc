"""The files that a scene is made of beside its product, told apart by content."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from landcover_tf.errors import LabelError, RasterError
from landcover_tf.files import sha256_of
from landcover_tf.legend import load_crosswalk
from landcover_tf.sentinel2.clouds import mask_of
from landcover_tf.sentinel2.label_rasters import LabelRaster, rasters_of
from landcover_tf.sentinel2.safe import SafeProduct
from landcover_tf.sentinel2.settings import Settings

FILES = ("ground_truth", "cloud_mask")
"""Settings that name files, which may be moved."""


def files_of(
    product: SafeProduct, settings: Settings, rasters: Sequence[LabelRaster]
) -> dict[str, list[Path] | None]:
    """Returns the files that a product needs, by the setting that names them; None without one.

    A cloud mask that is not there is left out; reading it tells.

    Args:
        product: Its metadata has been read.
        settings: How the scene is made.
        rasters: All label rasters of `settings.ground_truth`.
    """
    grid = product.grids[10]
    own = rasters_of(rasters, product.name, product.crs, grid.transform, grid.height, grid.width)
    masks = None
    if settings.cloud_mask is not None:
        with suppress(RasterError):
            masks = [mask_of(settings.cloud_mask, product)]
        masks = [path for path in masks or () if path.is_file()]
    return {
        "ground_truth": None if settings.ground_truth is None else [r.path for r in own],
        "cloud_mask": masks,
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
                f"the content of {name} {now}" if then == now else f"{name} {then} -> {now}"
            )
    if before.get("crosswalk") != _crosswalk(settings):
        changed.append("source_legend or legend")
    return changed


def _describe(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        return {
            "path": str(path.resolve()),
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
            "sha256": sha256_of(path),
        }
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error}") from error


def _same(known: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> bool:
    """Returns whether files hold what described ones held, whatever their names."""
    return len(known) == len(paths) and all(map(_is_described, paths, known))


def _is_described(path: Path, known: Mapping[str, Any]) -> bool:
    try:
        status = path.stat()
        if status.st_size != known["bytes"]:
            return False
        # The hash of a large raster takes a while.
        same_time = bool(status.st_mtime_ns == known["modified_ns"])
        return same_time or sha256_of(path) == known["sha256"]
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error}") from error


def _crosswalk(settings: Settings) -> dict[str, int] | None:
    if settings.ground_truth is None:
        return None
    codes = load_crosswalk(settings.source_legend, settings.legend).codes
    return {str(source): target for source, target in sorted(codes.items())}
