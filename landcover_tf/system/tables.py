"""Tables as CSV files in UTF-8."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from landcover_tf.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table without its rows that have no value."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, str | None], ...]
    """By column; a row that is too short holds None, one that is too long has a key None."""
    lines: tuple[int, ...]
    """Line of the file on which each row ends, counted from 1."""
    separator: str


def read_csv(path: Path) -> Table:
    """Returns a table.

    Spreadsheets of countries with a decimal comma separate by semicolons, and write rows without
    any value, which are left out.

    Raises:
        UnicodeDecodeError, csv.Error, OSError: It is no such table.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        separator = ";" if first.count(";") > first.count(",") else ","
        reader = csv.DictReader(file, delimiter=separator, skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        found = [(reader.line_num, row) for row in reader if not _is_blank(row)]
    return Table(
        columns=tuple(columns),
        rows=tuple(row for _, row in found),
        lines=tuple(line for line, _ in found),
        separator=separator,
    )


def write_csv(path: str | Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table under its column names as UTF-8, atomically; None is an empty cell."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_text(path, table.getvalue())


def _is_blank(row: Mapping[Any, Any]) -> bool:
    cells = chain.from_iterable(c if isinstance(c, list) else [c] for c in row.values())
    return not any(cell and cell.strip() for cell in cells)
