"""Parts of a program's config, each with the fields that one library function takes."""

from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

Part = TypeVar("Part")


def part(kind: type[Part], config: Any, /, **others: Any) -> Part:
    """Returns a `kind` with the values of a config, field by field.

    Args:
        kind: Dataclass; each of its fields is one of the config, of the same name and type, or
            one of `others`.
        config: What the flags say.
        others: Values that the config has under another name or type, or not at all.

    Raises:
        TypeError: A field is in neither, or differs in its type.
    """
    wanted, found = get_type_hints(kind), get_type_hints(type(config))
    names = [field.name for field in fields(kind) if field.name not in others]  # type: ignore[arg-type]
    differing = [name for name in names if found.get(name) != wanted[name]]
    if differing:
        raise TypeError(
            f"{type(config).__name__} lacks {', '.join(differing)} of {kind.__name__}, or has "
            "another type there"
        )
    return kind(**{name: getattr(config, name) for name in names}, **others)
