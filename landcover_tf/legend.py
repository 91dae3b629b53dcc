"""Legends (class schemes), read from data files.

One class table drives labels, metric names, colour tables, styles and pictures.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import LegendError, listed

DEFAULT_LEGEND = "landcover9"
IGNORED = 255
"""Dense index of pixels that carry no class; losses and metrics leave them out."""


@dataclass(frozen=True, kw_only=True)
class LandCoverClass:
    """One class of a legend."""

    code: int
    """Pixel value in label rasters and maps, 0-255."""
    name: str
    """Name shown to people."""
    color: str
    """Colour as #rrggbb."""

    def __post_init__(self) -> None:
        if not isinstance(self.code, int) or not 0 <= self.code <= 255:
            raise LegendError(
                f"class code must be a whole number in [0, 255], got {self.code!r} for "
                f"{self.name!r}"
            )
        digits = str(self.color).removeprefix("#")
        if (
            not isinstance(self.color, str)
            or len(digits) != 6
            or not all(c in "0123456789abcdefABCDEF" for c in digits)
        ):
            raise LegendError(f"class {self.name!r}: expected #rrggbb, got {self.color!r}")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue in 0-255."""
        value = int(self.color.removeprefix("#"), 16)
        return value >> 16, value >> 8 & 255, value & 255


@dataclass(frozen=True, kw_only=True)
class Legend:
    """An ordered class scheme; dense index i is the i-th class, the no-data code has none."""

    name: str
    classes: tuple[LandCoverClass, ...]
    """The classes a model predicts, in dense order, without the no-data code."""
    nodata: int = 0
    """Code of pixels without class; it is never predicted and never scored."""
    nodata_name: str = "no data"

    def __post_init__(self) -> None:
        if not self.classes:
            raise LegendError(f"legend {self.name!r} has no class")
        codes = [c.code for c in self.classes]
        if len({*codes, self.nodata}) != len(codes) + 1:
            raise LegendError(f"legend {self.name!r} uses a code twice: {[self.nodata, *codes]}")
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise LegendError(f"legend {self.name!r} uses a class name twice: {names}")

    @property
    def codes(self) -> tuple[int, ...]:
        """Class codes in dense order."""
        return tuple(c.code for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in dense order."""
        return tuple(c.name for c in self.classes)

    @property
    def index_of_code(self) -> np.ndarray:
        """Dense index of each code, uint8 [256]; IGNORED for no data and unknown codes."""
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.codes)] = np.arange(len(self.classes))
        return table

    @property
    def code_of_index(self) -> np.ndarray:
        """Code of each dense index, uint8 [256]; the no-data code elsewhere."""
        table = np.full(256, self.nodata, np.uint8)
        table[: len(self.classes)] = self.codes
        return table

    def unknown_codes(self, labels: np.ndarray) -> dict[float, int]:
        """Returns pixel counts of the codes in `labels` that the legend does not have."""
        known = {*self.codes, self.nodata}
        return {code: n for code, n in code_counts(labels).items() if code not in known}

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Returns RGBA of each code for GDAL; no data is transparent."""
        return {self.nodata: (0, 0, 0, 0)} | {c.code: (*c.rgb, 255) for c in self.classes}

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` reads them back."""
        return {
            "name": self.name,
            "nodata": self.nodata,
            "nodata_name": self.nodata_name,
            "classes": [{"code": c.code, "name": c.name, "color": c.color} for c in self.classes],
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Legend":
        """Returns the legend that `to_dict` described."""
        try:
            return Legend(
                name=values["name"],
                nodata=int(values.get("nodata", 0)),
                nodata_name=values.get("nodata_name", "no data"),
                classes=tuple(LandCoverClass(**c) for c in values["classes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LegendError(
                f"a legend needs name and classes (code, name, color): {error}"
            ) from error


def code_counts(labels: np.ndarray, *, nodata: int | None = None) -> dict[int, int]:
    """Returns the pixels of each code that occurs but `nodata`, by ascending code."""
    if labels.dtype == np.uint8:  # Nearly every label raster; counting beats sorting tenfold.
        counts = np.bincount(labels.ravel(), minlength=256)
        found = {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    else:
        codes, numbers = np.unique(labels, return_counts=True)
        found = dict(zip(codes.tolist(), numbers.tolist(), strict=True))
    return {code: pixels for code, pixels in found.items() if code != nodata}


def some_codes(codes: Sequence[object]) -> str:
    """Returns codes for a sentence: the first ten, and how many more there are."""
    hint = " (more than a legend has; is it an image?)" if len(codes) > 256 else ""
    return listed(codes) + hint


def code_fractions(pixels: Mapping[int, int]) -> dict[int, float]:
    """Returns the share of each code in the pixels of all, by ascending code; none without any."""
    total = sum(pixels.values())
    return {code: n / total for code, n in sorted(pixels.items())} if total else {}


def legend_names() -> list[str]:
    """Returns the names of the legends that ship with the package."""
    folder = resources.files("landcover_tf") / "legends"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def load_legend(name_or_path: str | Path) -> Legend:
    """Returns a shipped legend by name, or one from a TOML file of the same form.

    Raises:
        LegendError: There is no such legend, or the file is not a legend.
    """
    table = legend_table(name_or_path)
    try:
        return Legend.from_dict({k: v for k, v in table.items() if k != "crosswalks"})
    except LegendError as error:
        raise LegendError(f"legend {name_or_path}: {error}") from error


def legend_table(name_or_path: str | Path) -> dict[str, Any]:
    """Returns the table of a legend file, crosswalks included; its name is a text.

    Raises:
        LegendError: There is no such legend, or the file is not a legend.
    """
    path = Path(name_or_path)
    shipped = resources.files("landcover_tf") / "legends" / f"{name_or_path}.toml"
    try:
        table = tomllib.loads((path if path.suffix == ".toml" else shipped).read_text("utf-8-sig"))
    except OSError:
        raise LegendError(
            f"no legend {str(name_or_path)!r}; expected one of {', '.join(legend_names())} "
            "or a .toml file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LegendError(f"{name_or_path} is not valid TOML: {error}") from error
    if not isinstance(table.get("name"), str):
        raise LegendError(
            f'legend {name_or_path} has no name; add a line like name = "mine" at its top'
        )
    return table
