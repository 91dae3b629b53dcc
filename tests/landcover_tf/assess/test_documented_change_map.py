"""The map of change in docs/accuracy.md."""

import textwrap
from pathlib import Path

import numpy as np
from fakes.assessed_map import read, write

PAGE = Path(__file__).parents[3] / "docs/accuracy.md"


def test_the_documented_map_of_change_has_the_four_classes_and_no_data(tmp_path, monkeypatch):
    section = PAGE.read_text().split("## 5. Areas of change")[1]
    lines = section.split("with its legend")[0].splitlines()
    code = textwrap.dedent("\n".join(line for line in lines if line[:4] in ("", "    ")))
    before = np.array([[20, 20, 10, 10, 0, 20]], np.uint8).repeat(600, 0)
    after = np.array([[20, 10, 20, 60, 20, 0]], np.uint8).repeat(600, 0)
    for year, codes in ((2025, before), (2026, after)):
        (tmp_path / f"maps/{year}").mkdir(parents=True)
        write(tmp_path / f"maps/{year}/map.tif", codes)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, PAGE, "exec"), {})
    change = read(tmp_path / "change.tif")
    np.testing.assert_array_equal(change, np.array([[1, 2, 3, 4, 0, 0]]).repeat(600, 0))
