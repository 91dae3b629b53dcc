"""Which of several copies and versions of products to use, where some of them are damaged."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from landcover_tf.sentinel2.discovery import Unopened, superseded
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.product_paths import names_tar

Damaged = Callable[[Sequence[SafeProduct], Collection[Path]], Collection[Path]]
"""Returns the paths of damaged products, of the products that are to be used and of the paths of
those among them of which it decides something."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is used of products, and what is not."""

    used: Sequence[SafeProduct]
    replaced: Mapping[str, SafeProduct]
    """By the paths of others, the newer ones that are used."""
    substitutes: Mapping[Path, SafeProduct]
    """By the paths of damaged ones, what is used in their place."""


def choose(
    products: Sequence[SafeProduct],
    unopened: Sequence[Unopened],
    damaged: Damaged,
    *,
    copies: Mapping[Path, SafeProduct] = MappingProxyType({}),
) -> Choice:
    """Returns of each sight the highest baseline, or where it is damaged, the next that is there.

    A product that cannot be opened is of the sight of the one that has its name.

    Args:
        products: All that could be opened.
        unopened: What could not.
        damaged: Finds damage.
        copies: By the paths of copies that are not to be used, the product that is.
    """
    lost = {one.path: _product_name(one.path) for one in unopened if one.severity == "fatal"}
    spares: dict[Path, set[str]] = {}
    while True:
        held = [product for product in products if product.path not in {*spares, *copies}]
        replaced = superseded(held)
        replaced |= {str(p): replaced.get(str(made.path), made) for p, made in copies.items()}
        used = [product for product in held if str(product.path) not in replaced]
        newer = {product.path for product in replaced.values()}
        spare = set[str]().union(*spares.values())
        doubtful = newer | {p.path for p in used if p.name in lost.values() or str(p.path) in spare}
        unfit = {*damaged(used, doubtful)}
        if not unfit & newer:
            break
        for path in unfit & newer:
            spares[path] = {old for old, product in replaced.items() if product.path == path}
    fit = [product for product in used if product.path not in unfit]
    substitutes = {
        path: product
        for path, others in spares.items()
        for product in fit
        if str(product.path) in others
    }
    named = {
        product.name: replaced.get(str(product.path), substitutes.get(product.path, product))
        for product in products
    }
    substitutes |= {p: named[name] for p, name in lost.items() if named.get(name) in fit}
    return Choice(used=used, replaced=replaced, substitutes=substitutes)


def _product_name(path: Path) -> str:
    """Returns X of X, X.SAFE, X.zip, X.SAFE.zip, and of a tar archive's names."""
    name = names_tar(path.name) or (path.stem if path.suffix.lower() == ".zip" else path.name)
    return name[: -len(".SAFE")] if name.upper().endswith(".SAFE") else name
