"""Strata of an assessment that are not the classes of its map, or are left out."""

import json
import re

import numpy as np
import pytest
from fakes.assessed_map import (
    change,
    design,
    estimate,
    estimated,
    label,
    make_world,
    read,
    run,
    write,
)
from rasterio.crs import CRS

from landcover_tf.vectors.geopackage import Layer, point_blob, read_points, write_layer

ORIGIN = 500_005, 4_399_995
"""Centre of the map's first pixel."""


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_strata_of_another_map_are_estimated_by_indicators(world):
    """The sample was drawn from map.tif; the truth itself, with a hole, is assessed."""
    folder = design(world, "--samples", 600)
    path = label(folder, world / "truth.tif")
    better = read(world / "truth.tif").copy()
    better[50:70, 50:70] = 0
    write(world / "better.tif", better)
    arguments = ["estimate", "--map", world / "better.tif", "--reference", path,
                 "--output-dir", world / "result"]  # fmt: skip
    assert run(*arguments) == 0
    values = json.loads((world / "result" / "estimate.json").read_text())
    assert values["estimator"].startswith("Stehman")
    assert values["overall_accuracy"]["value"] == 1
    points = read_points(path)
    rows = (4_400_000 - np.array(points.y)) // 10
    cols = (np.array(points.x) - 500_000) // 10
    hole = ((rows >= 50) & (rows < 70) & (cols >= 50) & (cols < 70)).sum()
    assert values["points"]["where_the_map_has_no_class"] == hole > 0
    # The strata hold 142 ha, of which 4 ha are the hole; how many points lie there is chance. Each
    # point stands for N_h / n_h pixels of 0.01 ha, and totals vary by N_h^2 s_h^2 / n_h.
    assert values["assessed_area_ha"] == pytest.approx(138, abs=4)
    better = better[rows.astype(int), cols.astype(int)]
    drawn = np.array([row["stratum"] for row in points.rows])
    for land_cover in values["classes"]:
        hit, total, variance = better == land_cover["code"], 0.0, 0.0
        for stratum in values["strata"]:
            of_stratum = hit[drawn == stratum["code"]]
            hectares = stratum["pixels"] * 0.01
            total += hectares * of_stratum.mean()
            variance += hectares**2 * of_stratum.var(ddof=1) / len(of_stratum)
        # The truth is assessed: its classes are what it maps.
        for figure in (land_cover["area_ha"], land_cover["mapped_area_ha"]):
            assert figure["standard_error"] == pytest.approx(variance**0.5)
        assert land_cover["area_ha"]["value"] == pytest.approx(total)
        # All pixels of the map but at most 200 are in the strata, which lack as many.
        most = (read(world / "better.tif") == land_cover["code"]).sum() * 0.01
        within = np.clip(total, max(most - 2, 0), most)
        assert land_cover["mapped_area_ha"]["value"] == pytest.approx(within)
        assert land_cover["mapped_area_ha"]["high"] <= most + 1e-9
    text = (world / "result" / "report.md").read_text()
    assert "Areas on the map are estimated from the points as well" in text
    assert "the area on the map" not in text, "known or bounded of every class"
    # Counted, the assessed area is known, and the shares are of it.
    assert run(*arguments, "--strata-map", world / "map.tif") == 0
    counted = json.loads((world / "result" / "estimate.json").read_text())
    fact = ((read(world / "better.tif") != 0) & (read(world / "map.tif") != 0)).sum() * 0.01
    assert counted["assessed_area_ha"] == pytest.approx(fact)
    for one, other in zip(counted["classes"], values["classes"], strict=True):
        assert one["area_fraction"] == other["area_fraction"]
        assert one["area_ha"]["value"] == pytest.approx(fact * one["area_fraction"]["value"])
    assert "lie where this map has no class" in (world / "result" / "report.md").read_text()
    # Without the column, the strata are read from the map that they came from.
    rows = [
        (point_blob(x, y, 32634), i, row["reference"])
        for i, (row, x, y) in enumerate(zip(points.rows, points.x, points.y, strict=True), 1)
    ]
    bare = Layer(name="points", geometry="POINT", columns={"id": "INTEGER", "reference": "INTEGER"},
                 crs=CRS.from_epsg(32634), bounds=(0, 0, 1, 1))  # fmt: skip
    (world / "bare").mkdir()
    write_layer(world / "bare" / "points.gpkg", bare, rows)
    arguments[4] = world / "bare" / "points.gpkg"
    assert run(*arguments, "--overwrite") == 2
    assert run(*arguments, "--strata-map", world / "map.tif", "--overwrite") == 0
    again = json.loads((world / "result" / "estimate.json").read_text())
    assert estimated(again) == estimated(counted)


def test_there_must_be_a_stratum_and_a_folder(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    assert estimate(world, path, "--leave-out-strata", 10, 20, 60)[0] == 2
    assert "leaves no stratum" in capsys.readouterr().err
    (world / "result").write_text("a file")
    assert estimate(world, path)[0] == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_stratum_can_be_left_out_and_the_report_says_so(world):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    change(path, "UPDATE points SET reference = NULL WHERE stratum = 60")
    code, values = estimate(world, path, "--leave-out-strata", 60)
    assert code == 0
    pixels = int((read(world / "map.tif") == 60).sum())
    assert values["strata_left_out"] == {"60": pixels}
    assert values["assessed_area_ha"] == pytest.approx(142 - pixels * 0.01)
    assert "Stratum 60" in (world / "result" / "report.md").read_text()
    # Where the map is right, table and picture show the same areas on the map and estimated.
    change(path, "UPDATE points SET reference = stratum")
    _, values = estimate(world, path, "--leave-out-strata", 60)
    for land_cover in values["classes"]:
        for mapped, area in (("mapped_fraction", "area_fraction"), ("mapped_area_ha", "area_ha")):
            assert land_cover[mapped]["value"] == pytest.approx(land_cover[area]["value"])
    text = (world / "result" / "report.md").read_text()
    assert f"{14_200 - pixels:,} of the 14,200 pixels that the map classifies" in text


def test_strata_where_the_map_has_no_class_cannot_be_estimated(world, capsys):
    # Stratum 60 is where the map has no data.
    write(world / "strata.tif", np.where(read(world / "map.tif") == 0, 60, 10).astype(np.uint8),
          tags={"legend": "landcover9"})  # fmt: skip
    places = [
        (500_005, 4_399_995),
        (500_055, 4_399_955),
        (501_005, 4_399_005),
        (501_055, 4_399_055),
    ]
    lines = [f"{x},{y},10" for x, y in places]
    (world / "points.csv").write_text("\n".join(["x,y,reference", *lines]))
    flags = ["--strata-map", world / "strata.tif"]
    assert estimate(world, world / "points.csv", *flags, "--leave-out-strata", 60)[0] == 0
    assert estimate(world, world / "points.csv", *flags, "--leave-out-strata", 10)[0] == 2
    assert "has no class at any point of the strata 60" in capsys.readouterr().err


def pixels_where(condition, count):
    """Returns x and y of the first pixels for which a condition holds."""
    rows, cols = np.nonzero(condition)
    return list(zip(ORIGIN[0] + 10 * cols[:count], ORIGIN[1] - 10 * rows[:count], strict=True))


def table(path, rows):
    path.write_text("\n".join(["id,x,y,reference", *(",".join(map(str, row)) for row in rows)]))
    return path


def test_points_that_the_design_did_not_draw_are_refused(world, capsys):
    folder = design(world, "--samples", 300)
    points = read_points(label(folder, world / "truth.tif"))
    codes, truth = read(world / "map.tif"), read(world / "truth.tif")
    easy = [
        (f"e{code}-{i}", *place, code)
        for code in (10, 20, 60)
        for i, place in enumerate(pixels_where((codes == code) & (truth == code), 60))
    ]
    drawn = [
        (row["id"], x, y, row["reference"])
        for row, x, y in zip(points.rows, points.x, points.y, strict=True)
    ]
    new = [row for row in easy if row[1:3] not in {(x, y) for _, x, y, _ in drawn}]
    assert len(new) > 150
    for name, rows in (("training", new), ("more", drawn + new)):
        assert estimate(world, table(folder / f"{name}.csv", rows))[0] == 2
        error = capsys.readouterr().err
        expected = f"{len(new)} of {len(rows)} points lie in no pixel that the design drew: e10-"
        assert expected in error
        assert f"and {len(new) - 10} more; remove them" in error
        assert "--not-a-probability-sample" in error
    # A point that was moved to another pixel of its class is in none either.
    moved = [*drawn[1:], (drawn[0][0], *new[0][1:3], drawn[0][3])]
    assert estimate(world, table(folder / "moved.csv", moved))[0] == 2
    assert "1 of 300 points lie in no pixel that the design drew: 1;" in capsys.readouterr().err
    code, _ = estimate(world, folder / "more.csv", "--not-a-probability-sample")
    assert code == 0
    # Any order and a few points less is what people leave.
    code, values = estimate(world, table(folder / "fewer.csv", drawn[:9:-1]))
    assert (code, values["points"]["used"]) == (0, 290)
    # An older map's record knows the strata, so its points need not tell them.
    write(world / "map.tif", truth, tags={"legend": "landcover9"})
    code, values = estimate(world, table(folder / "drawn.csv", drawn))
    assert code == 0
    assert values["estimator"].startswith("Stehman")
    assert {s["code"]: s["points"] for s in values["strata"]} == {
        s: [row["stratum"] for row in points.rows].count(s) for s in (10, 20, 60)
    }
    assert "drawn" not in values["design"]


def test_records_without_the_drawn_pixels_are_refused(world, capsys):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    expected = estimate(world, path)
    record = json.loads((folder / "design.json").read_text())
    del record["drawn"]
    (folder / "design.json").write_text(json.dumps(record))
    assert estimate(world, path)[0] == 2
    error = capsys.readouterr().err
    # What keeps the labels comes first: they are days of work.
    assert re.search(
        r"design.json is not a complete sampling design, it lacks 'drawn'; give the map .* as "
        "--strata-map, or draw points anew",
        error,
    )
    code, values = estimate(world, path, "--strata-map", world / "map.tif")
    assert (code, estimated(values)) == (0, estimated(expected[1]))


def test_several_designs_of_one_map_are_estimated_together_by_its_classes(world, capsys):
    rows = []
    for seed in (0, 1):
        folder = design(world, "--samples", 300, "--seed", seed, out=f"sample{seed}")
        points = read_points(label(folder, world / "truth.tif"))
        rows += [
            (f"{seed}-{row['id']}", x, y, row["reference"])
            for row, x, y in zip(points.rows, points.x, points.y, strict=True)
        ]
    path = table(world / "sample0" / "both.csv", rows)
    assert estimate(world, path)[0] == 2
    assert "several designs of one map, give that as --strata-map" in capsys.readouterr().err
    code, values = estimate(world, path, "--strata-map", world / "map.tif")
    assert code == 0
    twice = 600 - len({row[1:3] for row in rows})
    assert len(values["points"]["excluded"]["in a pixel that another point has"]) == twice > 0
    codes, truth = read(world / "map.tif"), read(world / "truth.tif")
    overall = values["overall_accuracy"]
    fact = (codes == truth)[codes != 0].mean()
    assert abs(overall["value"] - fact) < 4 * overall["standard_error"]
    assert values["estimator"].startswith("Olofsson")
    assert sum(s["points"] for s in values["strata"]) == 600 - twice
