"""Which products a path holds, and which of them to use."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.errors import LandCoverError, ProductError
from landcover_tf.sentinel2.checks import Severity
from landcover_tf.sentinel2.container import ForeignError, UnreadableError, may_read
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.product_paths import names_tar, other_layout
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.tiles import footprint_of, parse_tile

_SAME_GROUND = 0.05
"""Share of a product's ground that one which replaces it may lack."""


def find_product_paths(path: str | Path) -> list[Path]:
    """Returns the products at `path`: itself, or every SAFE folder and .zip in it at any depth.

    Other layouts and tar archives of products count too, unless the SAFE folder lies beside them.
    Nothing is opened; what is not a product, or may not be read, is found out by `open_product`.
    Symbolic links are followed, to each folder once.

    Raises:
        ProductError: There is no such path, or nothing in it looks like a product.
        UnreadableError: It lies in a folder that the user may not open.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except PermissionError as error:
        raise UnreadableError(path.parent) from error
    if not exists:
        raise ProductError(
            f"{path} does not exist; expected a SAFE folder, a .zip of one, or a folder of them"
        )
    found = _products_at(path, set())
    if not found:
        raise ProductError(
            f"{path} holds no Sentinel-2 product; expected folders named *.SAFE, or .zip files"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Unopened:
    """What looked like a product and could not be opened as one."""

    path: Path
    error: LandCoverError
    severity: Severity
    """`note`: a .zip or SAFE folder of something else among products; `warning`: a folder that may
    not be read and may hold products; `fatal`: everything else."""


def open_products(source: Path) -> tuple[list[SafeProduct], list[Unopened]]:
    """Returns the products at `source`, as `find_product_paths` finds them, and the others.

    Raises:
        ProductError: Nothing there looks like a product.
    """
    products: list[SafeProduct] = []
    unopened: list[Unopened] = []
    for path in find_product_paths(source):
        try:
            products.append(open_product(path))
        except LandCoverError as error:
            severity = "fatal" if path == source else _severity(path, error)
            unopened.append(Unopened(path=path, error=error, severity=severity))
    return products, unopened


def _severity(path: Path, error: LandCoverError) -> Severity:
    # What is left of a damaged product may be foreign, too, but its name is not.
    if isinstance(error, ForeignError) and (path.is_file() or "_MSIL1C_" not in path.name):
        return "note"
    if isinstance(error, UnreadableError) and path.is_dir() and path.suffix.upper() != ".SAFE":
        return "warning"
    return "fatal"


def _products_at(path: Path, seen: set[Path]) -> list[Path]:
    """Returns the products at a path; folders in `seen`, by their real paths, hold none anew."""
    if path.is_file():
        return [path]
    real = path.resolve()
    if real in seen:
        return []  # A symbolic link to a folder above or beside.
    seen.add(real)
    if not may_read(path):
        # `open_product` says so. On top of a disk there is a folder that only root may read.
        return [] if path.name == "lost+found" else [path]
    if any(path.glob("MTD_MSIL*.xml")) or other_layout([file.name for file in path.iterdir()]):
        return [path]
    found = [
        product
        for entry in sorted(path.iterdir())
        if not entry.name.startswith(".") and (entry.is_dir() or _is_archive(entry))
        for product in _products_at(entry, seen)
    ]
    # Unpacking may put the SAFE folder into another of its name.
    return found or ([path] if path.suffix.upper() == ".SAFE" else [])


def _is_archive(path: Path) -> bool:
    """Returns whether a file is a .zip, or a tar of a product that is not unpacked beside it."""
    if path.suffix.lower() == ".zip":
        return True
    stem = names_tar(path.name)
    unpacked = () if stem is None else (path.with_name(stem), path.with_name(f"{stem}.SAFE"))
    return stem is not None and not any(folder.is_dir() for folder in unpacked)


def superseded(products: Sequence[SafeProduct]) -> dict[str, SafeProduct]:
    """Returns the products that a reprocessing of the same sight replaces.

    Products of one satellite, tile and data take are one sight, whatever their names say; the
    highest baseline is kept, and of equal ones the later name (its discriminator). Different parts
    of the data take complete each other: a part is replaced by a newer one of the same part, or by
    one of a higher baseline whose footprint covers its own.

    Returns:
        For the path of each replaced product, the product that replaces it.
    """
    sights: dict[tuple[object, ...], list[SafeProduct]] = {}
    for product in sorted(products, key=_rank, reverse=True):
        sights.setdefault(_sight(product), []).append(product)
    replaced: dict[str, SafeProduct] = {}
    for sight in sights.values():
        for number, product in enumerate(sight):
            better = sight[:number]
            same = [other for other in better if other.datastrip_start == product.datastrip_start]
            recut = [other for other in better if _covers(other, product)]
            for newer in (same or recut)[:1]:
                replaced[str(product.path)] = replaced.get(str(newer.path), newer)
    return replaced


def _covers(newer: SafeProduct, older: SafeProduct) -> bool:
    """Returns whether a product of a higher baseline is known to have the ground of another."""
    if newer.baseline == older.baseline:
        return False
    tile = parse_tile(older.tile)
    new, old = (tile.covered(footprint_of(product.footprint)) for product in (newer, older))
    if new is None or old is None:
        return False
    # Footprints of two baselines differ by some cells along their edges.
    return float((old & ~new).sum()) <= _SAME_GROUND * float(old.sum())


def left_out(product: SafeProduct, newer: SafeProduct) -> str:
    """Returns why a product is not used, for people."""
    if product.name == newer.name:
        why = "another copy of it"
    elif product.baseline == newer.baseline:
        why = "the same sight, made later"
    else:
        why = f"the same sight, baseline {newer.baseline_text} against {product.baseline_text}"
    return f"{product.path} is left out: {newer.path} is {why}"


def taken_instead(path: Path, other: SafeProduct) -> str:
    """Returns why a damaged product does no harm, for people."""
    return f"{path} is unfit, so {other.path} is used in its place"


def _sight(product: SafeProduct) -> tuple[object, ...]:
    return product.satellite, product.tile, product.datatake_start.replace(microsecond=0)


def _rank(product: SafeProduct) -> tuple[tuple[int, int], str, bool, str]:
    # An unpacked copy reads faster than a .zip.
    return product.baseline, product.name, not product.container.zipped, str(product.path)
