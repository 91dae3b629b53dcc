"""Names that a package offers and imports when they are asked for (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module


def getter(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Returns the `__getattr__` of a package.

    Args:
        package: Its name.
        modules: The module of each name, below the package.
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get
