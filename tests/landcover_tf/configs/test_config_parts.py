"""Values that travel from the flags of a program into its library functions."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from landcover_tf.configs.config_parts import part


@dataclass(frozen=True, kw_only=True)
class Config:
    tiles: int = 4
    kind: Literal["a", "b"] = "a"
    sides: tuple[int, ...] = (3,)
    output: str = "x"


@dataclass(frozen=True, kw_only=True)
class Settings:
    tiles: int
    kind: Literal["a", "b"]
    sides: tuple[int, ...] = (1,)


@dataclass(frozen=True, kw_only=True)
class Other:
    tiles: float
    threads: int = 1


def test_a_part_has_the_values_of_the_config():
    config = Config(tiles=5, kind="b")
    assert part(Settings, config) == Settings(tiles=5, kind="b", sides=(3,))
    assert part(Settings, config, sides=()) == replace(part(Settings, config), sides=())
    assert part(Other, config, tiles=0.5, threads=2) == Other(tiles=0.5, threads=2)


def test_a_gap_or_another_type_is_no_part():
    with pytest.raises(TypeError, match="Config lacks tiles, threads of Other"):
        part(Other, Config())
    with pytest.raises(TypeError, match="unexpected keyword argument 'sizes'"):
        part(Settings, Config(), sizes=3)
