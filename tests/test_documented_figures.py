"""The figures in the documentation are those of the benchmarks' results."""

import json
from pathlib import Path

from benchmarks.records import markdown_tables

ROOT = Path(__file__).parents[1]


def test_the_page_on_records_has_the_tables_of_the_last_measurement():
    results = json.loads((ROOT / "benchmarks/results/records.json").read_text())
    tables = markdown_tables(results)
    assert tables in (ROOT / "docs/records.md").read_text(), (
        "python -m benchmarks.records --tables prints them"
    )
