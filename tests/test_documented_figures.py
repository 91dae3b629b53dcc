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


def test_the_choice_of_the_precision_cites_the_last_measurement():
    results = json.loads((ROOT / "benchmarks/results/train_step.json").read_text())
    rows = {(row["precision"], row["jit"]): row for row in results["rows"] if row["onednn"] == "on"}
    rates = {key: f"{row['images_per_s']:.2f}" for key, row in rows.items() if "steps_s" in row}
    float32, float32_xla = rates["float32", "off"], rates["float32", "on"]
    bfloat16_xla, stopped_s = rates["bfloat16", "on"], rows["bfloat16", "off"]["stopped_s"]
    text = " ".join((ROOT / "landcover_tf/training/precision.py").read_text().split())
    for sentence in (
        f"at {float32} images/s in float32. In bfloat16 they reached {bfloat16_xla} with XLA, and "
        f"without it no result within {stopped_s:g} s",
        f"{float32_xla} against {float32} images/s in float32, {bfloat16_xla} in bfloat16",
    ):
        assert sentence in text
    assert results["hardware"]["cores"] == 2 and results["encoder"] == "resnet50"
