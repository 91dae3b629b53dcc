"""Which products a path holds, and which of them to use."""

from collections.abc import Sequence
from pathlib import Path

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.safe import SafeProduct


def find_product_paths(path: str | Path) -> list[Path]:
    """Returns the products at `path`: itself, or every SAFE folder and .zip directly in it.

    Nothing is opened; what is not a product is found out by `open_product`.

    Raises:
        ProductError: There is no such path, or nothing in it looks like a product.
    """
    path = Path(path)
    if not path.exists():
        raise ProductError(
            f"{path} does not exist; expected a SAFE folder, a .zip of one, or a folder of them"
        )
    if path.is_file() or _looks_like_product(path):
        return [path]
    found = [
        entry
        for entry in sorted(path.iterdir())
        if not entry.name.startswith(".")
        and (entry.suffix.lower() == ".zip" or (entry.is_dir() and _looks_like_product(entry)))
    ]
    if not found:
        raise ProductError(
            f"{path} holds no Sentinel-2 product; expected folders named *.SAFE, or .zip files"
        )
    return found


def superseded(products: Sequence[SafeProduct]) -> dict[str, SafeProduct]:
    """Returns the products that a reprocessing of the same sight replaces.

    Products of one satellite, tile and data take are one sight, whatever their names say; the
    higher baseline is kept, and of equal ones the later name (its discriminator).

    Returns:
        For the path of each replaced product, the product that replaces it.
    """
    best: dict[tuple[object, ...], SafeProduct] = {}
    for product in products:
        key = _sight(product)
        if key not in best or _rank(product) > _rank(best[key]):
            best[key] = product
    return {
        str(product.path): best[_sight(product)]
        for product in products
        if best[_sight(product)].path != product.path
    }


def _sight(product: SafeProduct) -> tuple[object, ...]:
    return product.satellite, product.tile, product.datatake_start.replace(microsecond=0)


def _rank(product: SafeProduct) -> tuple[tuple[int, int], str, str]:
    return product.baseline, product.name, str(product.path)


def _looks_like_product(folder: Path) -> bool:
    return folder.suffix.upper() == ".SAFE" or any(folder.glob("MTD_MSIL*.xml"))
