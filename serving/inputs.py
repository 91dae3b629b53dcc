"""Which inputs and maps the paths of a command line stand for, and how each input is opened."""

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from landcover_tf.errors import ConfigError, ProductError, RasterError
from landcover_tf.model_info import ModelInfo
from landcover_tf.sentinel2 import prepared
from landcover_tf.sentinel2.checks import check_product
from landcover_tf.sentinel2.container import UnreadableError, may_read
from landcover_tf.sentinel2.discovery import left_out, open_products, taken_instead
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.product_choice import choose
from landcover_tf.sentinel2.product_paths import names_tar, product_folder
from serving.product_source import ProductSource
from serving.raster_source import RasterSource
from serving.source import Source, SourceOptions
from serving.targets import former_targets

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt")


def find_inputs(paths: Sequence[Path], *, within: frozenset[Path] = frozenset()) -> list[Path]:
    """Returns the inputs that the given paths stand for.

    A .txt file lists one path a line, relative to itself. A folder that is no product or scene
    holds prepared scenes and GeoTIFFs, and products at any depth, of which those of a lower
    baseline and those that another copy replaces are left out, as `landcover prepare` does, but
    for damage that only checksums tell; so are maps of this program. An input that is named
    several times counts once, which is told on stderr.

    Args:
        paths: What was given.
        within: Lists that are being read, so that one that names itself is noticed.

    Raises:
        RasterError: One that was given itself, not in a list, does not exist, holds nothing to
            predict on, or is no readable list; or the lists name nothing.
        UnreadableError: One that was given itself may not be read.
        ConfigError: A list names itself.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found += _meant_by(path, within)
        except (ProductError, RasterError):
            if not within:
                raise
            found.append(path)  # Its prediction says why, and the others of the list get maps.
    if not found and not within:
        raise RasterError(f"{', '.join(map(str, paths))} names no input")
    return found if within else _once(found)


def is_single(given: Sequence[Path], inputs: Sequence[Path], output_map: Path) -> bool:
    """Returns whether a command is about one input alone: one that was given itself, or whose map
    was. A folder or a list may hold more at the next time, whose maps must find a place beside it.

    Args:
        given: Paths of the command line.
        inputs: What they stand for.
        output_map: Where the maps go.
    """
    if len(inputs) != 1:
        return False
    # Programs unpack X.SAFE.zip into a folder of that name around the product's.
    itself = inputs[0] == product_folder(given[0]) or given[0].suffix.upper() == ".SAFE"
    return itself or _is_map(output_map)


def map_paths(
    inputs: Sequence[Path], output_map: Path, *, mosaic: bool, single: bool
) -> list[Path]:
    """Returns where the map of each input goes.

    Args:
        inputs: What is mapped.
        output_map: The map, or the folder of the maps.
        mosaic: The maps are merged into `output_map`.
        single: The map of the only input gets no folder of its own.

    Raises:
        ConfigError: `output_map` is a file where a folder is needed, or the reverse; or maps of
            two inputs would have one path.
    """
    is_file = _is_map(output_map)
    if output_map.suffix and not (is_file or output_map.is_dir()):
        raise ConfigError(f"--output-map must end in .tif or be a folder, got {output_map}")
    if mosaic and not is_file:
        raise ConfigError(
            f"--mosaic writes one map: --output-map must end in .tif, got {output_map}"
        )
    if single and not mosaic:
        return [output_map if is_file else output_map / "map.tif"]
    if is_file and not mosaic:
        raise ConfigError(
            f"{len(inputs)} inputs make {len(inputs)} maps: --output-map must be a folder, got "
            f"{output_map}; or pass --mosaic for one map"
        )
    folder = output_map.with_name(f"{output_map.stem}_scenes") if mosaic else output_map
    named: dict[Path, list[Path]] = {}
    for path in inputs:
        named.setdefault(folder / _map_name(path) / "map.tif", []).append(path)
    collisions = [", ".join(map(str, same)) for same in named.values() if len(same) > 1]
    if collisions:
        raise ConfigError(
            f"inputs of one name would have one map: {'; '.join(collisions)}; leave out all but "
            "one of each, or give each its own --output-map"
        )
    return list(named)


def open_source(path: Path, info: ModelInfo, options: SourceOptions) -> Source:
    """Returns the SAFE product, prepared scene or raster at `path`.

    Raises:
        RasterError: It is not there, or does not fit the model: bands, resolution, or data type.
        ProductError: It is a damaged or unsuitable product, or may not be read.
    """
    require_input(path)
    if path.suffix.lower() == ".txt":
        # Its lines would have come instead.
        raise RasterError(f"{path} is not a readable list of paths in UTF-8; save it in UTF-8")
    if _is_scene(path):
        return _open_prepared(path, info, options)
    if path.is_dir() or path.suffix.lower() == ".zip" or names_tar(path.name):
        return ProductSource(
            path,
            info,
            upsampling=options.upsampling(info.upsampling),
            mask_clouds=options.mask_clouds,
            checksums=options.checksums,
        )
    return RasterSource(path, info, options)


def require_input(path: Path) -> None:
    """Refuses a path where nothing is, or nothing that can be read.

    Raises:
        RasterError: There is no such file or folder, or the disk fails.
        UnreadableError: The user may not read it.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise UnreadableError(path.parent) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RasterError(
            f"there is no {path}; expected a SAFE product, a prepared scene or a GeoTIFF"
        ) from error
    except OSError as error:
        raise RasterError(f"cannot read {path}: {error.strerror}") from error
    if not may_read(path):
        raise UnreadableError(path)


def _open_prepared(folder: Path, info: ModelInfo, options: SourceOptions) -> RasterSource:
    scene = prepared.read_document(folder)
    wanted = ("product", "baseline", "sensing_time", "tile", "orbit")
    tags = {key: str(scene[key]) for key in wanted if scene.get(key) is not None}
    cloud_source = scene.get("settings", {}).get("cloud_source")
    if options.mask_clouds and cloud_source == "none":
        raise RasterError(
            f"{folder} was prepared with --cloud-source none, so --mask-clouds would find no "
            "clouds in it; prepare it again with another source"
        )
    validity = folder / prepared.VALIDITY
    return RasterSource(
        folder / prepared.IMAGE,
        info,
        replace(options, assume_bands=()),
        validity_path=validity if validity.is_file() else None,
        description=folder / prepared.DOCUMENT,
        name=str(scene.get("product") or folder.name).removesuffix(".SAFE"),
        tags=tags,
        upsampling=prepared.upsampling_of(scene, folder),
        cloudy_fraction=scene.get("cloud_cover", {}).get(cloud_source),
    )


def _once(inputs: Sequence[Path]) -> list[Path]:
    """Returns the inputs without those that are there already, written in whatever way.

    A link of another name is an input of its own: it has its own map.
    """
    kept: dict[tuple[str, str], Path] = {}
    for path in inputs:
        first = kept.setdefault((os.path.realpath(path), _map_name(path)), path)
        if first is not path:
            print(f"note: {path} is named twice and counts once", file=sys.stderr)
    return list(kept.values())


def _is_map(output_map: Path) -> bool:
    return output_map.suffix.lower() in (".tif", ".tiff")


def _meant_by(path: Path, within: frozenset[Path]) -> list[Path]:
    require_input(path)
    if (folder := product_folder(path)) != path:
        path = folder
        require_input(path)
    if path.suffix.lower() == ".txt":
        if path.resolve() in within:
            raise ConfigError(f"the list {path} names itself; remove that line")
        return find_inputs(_listed(path), within=within | {path.resolve()})
    if path.is_dir() and not _is_scene(path) and not any(path.glob("MTD_MSIL*.xml")):
        return _inside(path)
    return [path]


def _listed(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RasterError(f"{path} is not a readable list of paths in UTF-8: {error}") from error
    return [path.parent / line for line in lines if line and line[0] != "#"]


def _inside(folder: Path) -> list[Path]:
    """Returns the inputs in a folder; tells on stderr what looks like one and is left out."""
    found = [
        path
        for path in folder.iterdir()
        if path.name[0] != "."
        and (_is_scene(path) or (path.is_file() and path.suffix.lower() in RASTER_SUFFIXES))
    ]
    # Else a map that was written beside its inputs would be one of them at the next command.
    own = {file for path in found for file in former_targets(path)}
    if maps := sorted(path.name for path in found if path in own):
        print(f"note: {', '.join(maps)} in {folder} left out: predict made them", file=sys.stderr)
    found = sorted([path for path in found if path not in own] + _products_in(folder))
    if not found:
        raise RasterError(
            f"{folder} holds no SAFE product, prepared scene or GeoTIFF; prepare scenes "
            "first, or name a raster"
        )
    return found


def _products_in(folder: Path) -> list[Path]:
    try:
        products, unopened = open_products(folder)
    except UnreadableError:
        raise
    except ProductError:
        return []
    damage: dict[Path, str] = {}

    def damaged(used: Sequence[SafeProduct], doubtful: Collection[Path]) -> list[Path]:
        for product in used:
            if product.path in doubtful and product.path not in damage:
                damage[product.path] = _damage_of(product)
        return [path for path in doubtful if damage[path]]

    choice = choose(products, unopened, damaged)
    found = [product.path for product in choice.used]
    for one in unopened:
        if one.severity == "fatal" and one.path not in choice.substitutes:
            found.append(one.path)  # Its prediction says why.
        else:
            severity = "warning" if one.severity == "fatal" else one.severity
            print(f"{severity}: {one.error}", file=sys.stderr)
    for product in products:
        if (newer := choice.replaced.get(str(product.path))) is not None:
            print(f"note: {left_out(product, newer)}", file=sys.stderr)
        elif product.path not in found:
            print(f"warning: {damage[product.path]}", file=sys.stderr)
    for path, other in choice.substitutes.items():
        print(f"warning: {taken_instead(path, other)}", file=sys.stderr)
    return found


def _damage_of(product: SafeProduct) -> str:
    """Returns the first damage of a product's files that is seen without reading all of them."""
    found = check_product(product, checksums=False, needs_cloud_mask=False, needs_sun=False)
    return next((finding.message for finding in found if finding.is_damage), "")


def _is_scene(path: Path) -> bool:
    try:
        return (path / prepared.DOCUMENT).is_file()
    except PermissionError:  # A disk's lost+found is none; of other folders its prediction says it.
        return False


def _map_name(path: Path) -> str:
    """Returns the name of an input's folder: X of X.SAFE, X.SAFE.zip and X.tif."""
    try:
        name = path.name if path.is_dir() else path.stem
    except OSError:  # Nothing that can be read is there, which its prediction says.
        name = path.stem
    return name[: -len(".SAFE")] if name.upper().endswith(".SAFE") else name
