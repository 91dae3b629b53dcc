"""What `--help` shows of a config: each field's text as one paragraph, its type and its default."""

import ast
import dataclasses
import inspect
import textwrap
from itertools import pairwise
from typing import Annotated, Any, NoReturn, get_type_hints

import tyro


def show(config_class: type[Any], *, prog: str, description: str) -> NoReturn:
    """Prints the help of a config and exits.

    Of the config itself the parser would break texts where the source has a line break, show
    nothing as the default of an empty list, and None as a word to type.
    """
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
    tyro.cli(
        _shown(config_class), args=["--help"], prog=prog, description=description, config=markers
    )
    raise SystemExit(0)


def _shown(config_class: type[Any]) -> type[Any]:
    """Returns a dataclass of the same fields that is fit to be shown, not to be parsed."""
    hints, texts = get_type_hints(config_class, include_extras=True), _texts(config_class)
    fields = []
    for field in dataclasses.fields(config_class):
        about = tyro.conf.arg(help=texts.get(field.name), help_behavior_hint=_default)
        default = dataclasses.field(default=field.default, default_factory=field.default_factory)
        fields.append((field.name, Annotated[hints[field.name], about], default))
    return dataclasses.make_dataclass(config_class.__name__, fields, kw_only=True)


def _default(value: str) -> str:
    return f"(default: {'not set' if value == 'None' else value or 'none'})"


def _texts(config_class: type[Any]) -> dict[str, str]:
    """Returns the text under each field, its lines joined."""
    found = {}
    for kind in reversed(config_class.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        for field, text in pairwise(getattr(definition, "body", ())):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = " ".join(words.split())
    return found
