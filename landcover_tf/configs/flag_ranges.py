"""Ranges that the flags of a config keep to, and what is said of one that does not.

The functions are for `__post_init__`. A flag that is not given (None) is in every range, NaN in
none.
"""

import math
from collections.abc import Callable
from datetime import date
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from landcover_tf.errors import ConfigError

_WORDS = {tuple: "numbers", float: "a number"}
"""What a field takes beside the words that it may be."""


def lists_to_tuples(config: object) -> None:
    """Makes tuples of the lists that a Python program gives to a config, which is frozen."""
    for name, value in list(vars(config).items()):
        if isinstance(value, list):
            object.__setattr__(config, name, tuple(value))


def chosen(config: object) -> None:
    """Refuses values of `Literal` fields that are none of their choices.

    The command line does so by itself; from Python a mistyped word would be accepted.

    Raises:
        ConfigError: One is.
    """
    for name, hint in get_type_hints(type(config)).items():
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        choices = [c for kind in kinds if get_origin(kind) is Literal for c in get_args(kind)]
        others = tuple(get_origin(k) or k for k in kinds if get_origin(k) is not Literal)
        others += (int,) if float in others else ()
        value = getattr(config, name)
        if choices and value not in choices and not isinstance(value, others):
            words = [*map(str, choices), *(word for kind, word in _WORDS.items() if kind in others)]
            raise ConfigError(
                f"--{name.replace('_', '-')} must be one of {', '.join(words)}, got {value}"
            )


def at_least(config: object, least: int, *names: str) -> None:
    """Refuses fields below `least`, and infinite ones.

    Raises:
        ConfigError: One is.
    """
    wanted = f"be at least {least}" if least else "not be negative"
    _require(config, names, lambda value: value >= least, wanted)
    finite(config, *names)


def finite(config: object, *names: str) -> None:
    """Refuses fields that are no finite number.

    Raises:
        ConfigError: One is not.
    """
    _require(config, names, lambda value: -math.inf < value < math.inf, "be finite")


def above_zero(config: object, *names: str) -> None:
    """Refuses fields that are no finite number above 0.

    Raises:
        ConfigError: One is not.
    """
    _require(config, names, lambda value: 0 < value < math.inf, "be above 0 and finite")


def within(config: object, low: float, high: float, *names: str, ends: str = "[]") -> None:
    """Refuses fields outside an interval.

    Args:
        config: Holds the fields.
        low: Lower end.
        high: Upper end.
        names: The fields.
        ends: "[]" where both ends belong to the interval, "()" where neither does, "[)".

    Raises:
        ConfigError: One is outside.
    """

    def allowed(value: float) -> bool:
        above = value > low if ends[0] == "(" else value >= low
        return above and (value < high if ends[1] == ")" else value <= high)

    _require(config, names, allowed, f"be in {ends[0]}{low}, {high}{ends[1]}")


def day_of(flag: str, text: str) -> date:
    """Returns the day that a flag gives as YYYY-MM-DD.

    Raises:
        ConfigError: It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{flag} must be a day as YYYY-MM-DD, got {text!r}") from error


def _require(
    config: object, names: tuple[str, ...], allowed: Callable[[Any], bool], wanted: str
) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not allowed(value):
            raise ConfigError(f"--{name.replace('_', '-')} must {wanted}, got {value}")
