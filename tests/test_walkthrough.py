"""The notebook of the examples runs from its first cell to its last."""

import json
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_the_walkthrough_ends_with_an_assessed_map(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(EXAMPLES / "walkthrough.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    names = re.findall(r"^(\w+) =", parameters.source, re.MULTILINE)
    smaller = {"SIZE_PX": 480, "EPOCHS": 2, "POINTS": 150}
    assert sorted(names) == sorted(smaller)
    parameters.source = "\n".join(f"{name} = {value}" for name, value in smaller.items())
    monkeypatch.setenv("WALKTHROUGH_DIR", str(tmp_path))
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": EXAMPLES}}
    ).execute()
    values = json.loads((tmp_path / "assessment" / "estimate.json").read_text())
    census = json.loads((tmp_path / "comparison" / "compare.json").read_text())
    found, truth = values["overall_accuracy"], census["overall_accuracy"]["value"]
    # Twice the interval: one in twenty intervals of 95 % misses by chance alone.
    assert abs(found["value"] - truth) < found["high"] - found["low"]
    assert 'id="assessment-estimate"' in (tmp_path / "report.html").read_text()
