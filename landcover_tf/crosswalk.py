"""Crosswalks: which class of a legend each code of another one becomes, from legend files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landcover_tf.errors import LabelError, LegendError
from landcover_tf.legend import Legend, code_counts, legend_table, load_legend, some_codes


@dataclass(frozen=True, kw_only=True)
class Crosswalk:
    """A many-to-one table from source codes to the codes of a target legend."""

    source: str
    """Name of the source legend."""
    target: Legend
    codes: Mapping[int, int] = field(hash=False)
    """Target code of each source code, which may exceed 255 (CORINE level 3)."""

    def __post_init__(self) -> None:
        allowed = {*self.target.codes, self.target.nodata}
        wrong = {s: t for s, t in self.codes.items() if t not in allowed}
        if wrong:
            raise LegendError(
                f"crosswalk {self.source} -> {self.target.name} names unknown target codes: {wrong}"
            )

    @staticmethod
    def identity(legend: Legend) -> "Crosswalk":
        """Returns the crosswalk of a legend to itself."""
        codes = {code: code for code in (legend.nodata, *legend.codes)}
        return Crosswalk(source=legend.name, target=legend, codes=codes)

    def __str__(self) -> str:
        if self.source == self.target.name:
            return f"legend {self.source}"
        return f"crosswalk {self.source} -> {self.target.name}"

    @property
    def merged(self) -> str | None:
        """How many source codes each target class is made of, as a sentence; None if one each."""
        counts = Counter(code for code in self.codes.values() if code != self.target.nodata)
        names = {c.code: c.name for c in self.target.classes}
        several = [f"{n} to {names[code]}" for code, n in sorted(counts.items()) if n > 1]
        if not several:
            return None
        classes = "1 class" if len(counts) == 1 else f"{len(counts)} classes"
        return f"the {self} merges {counts.total()} codes into {classes}: {', '.join(several)}"

    def remap(
        self, labels: np.ndarray, *, unknown: str = "error", where: str = "labels"
    ) -> np.ndarray:
        """Returns `labels` in the target legend's codes.

        Args:
            labels: Source codes, any integer dtype, any shape.
            unknown: "error" refuses codes without an entry, "ignore" makes them no data.
            where: The file, for the error message.

        Returns:
            Target codes, uint8, same shape.

        Raises:
            LabelError: A source code has no entry and `unknown` is "error".
        """
        counts = code_counts(labels)
        if unknown != "ignore":
            self.refuse_unknown(self._unknown(counts), where, legend_flag="--source-legend")
        present = np.array(list(counts), labels.dtype)
        values = np.array(
            [self.codes.get(int(code), self.target.nodata) for code in present], np.uint8
        )
        if labels.dtype == np.uint8:
            table = np.zeros(256, np.uint8)
            table[present] = values
            return np.asarray(table[labels])
        # A lookup table over the present codes works for negative and 16-bit codes alike.
        return values[np.searchsorted(present, labels)]

    def hides_class(self, nodata: float | None) -> bool:
        """Returns whether the value that a raster declares no data is the code of a class.

        What is declared no data stays so; the user may not know that it is.
        """
        if nodata is None or not float(nodata).is_integer():
            return False
        return self.codes.get(int(nodata), self.target.nodata) != self.target.nodata

    def unknown_counts(self, labels: np.ndarray) -> dict[int, int]:
        """Returns pixel counts of source codes without an entry."""
        return self._unknown(code_counts(labels))

    def refuse_unknown(self, counts: Mapping[int, int], where: str, *, legend_flag: str) -> None:
        """Refuses source codes without an entry.

        Args:
            counts: Pixels of each, as `unknown_counts` gives them.
            where: What holds them, for the message.
            legend_flag: The flag that names the source legend.

        Raises:
            LabelError: There are such codes.
        """
        if counts:
            listed = some_codes(
                [f"{code} ({pixels} px)" for code, pixels in sorted(counts.items())]
            )
            raise LabelError(
                f"{where} has codes that the {self} does not know: {listed}; name the right "
                f"{legend_flag} or pass --unknown-labels ignore"
            )

    def _unknown(self, counts: Mapping[int, int]) -> dict[int, int]:
        return {code: n for code, n in counts.items() if code not in self.codes}


def load_crosswalk(source: str | Path, target: str | Path) -> Crosswalk:
    """Returns the crosswalk between two legends; the identity when they are one.

    Raises:
        LegendError: A legend is unknown, or the source has no crosswalk to the target.
    """
    legend = load_legend(target)
    table = legend_table(source)
    if table["name"] == legend.name:
        return Crosswalk.identity(legend)
    try:
        codes = {int(s): int(t) for s, t in table["crosswalks"][legend.name].items()}
    except KeyError:
        raise LegendError(
            f"legend {table['name']!r} has no crosswalk to {legend.name!r}; give --legend {source} "
            f"if {legend.name} is not the legend that is wanted, or add a "
            f"[crosswalks.{legend.name}] table to its TOML file"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise LegendError(
            f"legend {source}: [crosswalks.{legend.name}] needs lines like 311 = 20, whole numbers "
            f"on both sides ({error})"
        ) from error
    return Crosswalk(source=table["name"], target=legend, codes=codes)


def source_codes(name_or_path: str | Path) -> tuple[int, ...]:
    """Returns all codes that labels of a legend may have: its own and those of its crosswalks.

    Raises:
        LegendError: There is no such legend, or the file is not a legend.
    """
    legend = load_legend(name_or_path)
    tables = legend_table(name_or_path).get("crosswalks", {})
    others = {code for name in tables for code in load_crosswalk(name_or_path, name).codes}
    return tuple(sorted({legend.nodata, *legend.codes, *others}))
