"""`landcover assess estimate`: from labelled points to accuracy and area."""

import csv

import numpy as np
import pytest
from fakes.assessed_map import (
    CLASSES,
    change,
    compare,
    design,
    estimate,
    label,
    make_world,
    read,
    write,
)

from landcover_tf.report.assessment_sections import assessments
from landcover_tf.vectors.geopackage import point_blob, read_points


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_estimates_cover_what_the_whole_map_says(world):
    folder = design(world, "--samples", 900, "--seed", 1)
    code, values = estimate(world, label(folder, world / "truth.tif"))
    assert code == 0
    codes, truth = read(world / "map.tif"), read(world / "truth.tif")
    mapped = codes != 0
    assert values["estimator"].startswith("Olofsson")
    assert values["points"]["used"] == values["points"]["given"] == 900
    overall = values["overall_accuracy"]
    assert abs(overall["value"] - (codes == truth)[mapped].mean()) < 4 * overall["standard_error"]
    for land_cover in values["classes"]:
        if land_cover["code"] not in CLASSES:
            assert land_cover["users_accuracy"]["value"] is None
            continue
        fact = (truth == land_cover["code"])[mapped].sum() * 0.01
        area = land_cover["area_ha"]
        assert abs(area["value"] - fact) < 4 * area["standard_error"]
        assert land_cover["mapped_area_ha"] == {
            "value": pytest.approx((codes == land_cover["code"]).sum() * 0.01)
        }
    assert sum(c["area_ha"]["value"] for c in values["classes"]) == pytest.approx(142)
    result = world / "result"
    assert {p.name for p in result.iterdir()} == {
        "estimate.json", "classes.csv", "confusion_counts.csv", "confusion_area_fractions.csv",
        "assessment.png", "report.md", "assess_estimate.json",
    }  # fmt: skip
    with (result / "classes.csv").open() as file:
        table = {row["name"]: row for row in csv.DictReader(file)}
    assert float(table["forests"]["area_ha_low"]) == values["classes"][1]["area_ha"]["low"]
    text = (result / "report.md").read_text()
    assert "# Accuracy and area of the map" in text
    assert "900 of 900 reference points were used; left out: none" in text


def test_every_exclusion_is_named_and_counted(world):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    points = read_points(path)
    layer_srs = 32634
    change(path, "UPDATE points SET reference = NULL WHERE id IN (1, 2)")
    change(path, "UPDATE points SET reference = 0 WHERE id = 3")
    change(path, "UPDATE points SET reference = 77 WHERE id = 4")
    fourth = points.rows[9]
    insert = "INSERT INTO points (geom, id, stratum, reference) VALUES (?, ?, ?, ?)"
    again = point_blob(points.x[9] + 2, points.y[9] - 2, layer_srs)
    change(path, insert, again, 901, fourth["stratum"], fourth["reference"])
    change(path, insert, point_blob(0, 0, layer_srs), 902, 10, 10)
    change(path, insert, point_blob(500_055, 4_399_995, layer_srs), 903, 10, 10)
    code, _ = estimate(world, path)
    assert code == 2, "class 77 is unknown"
    code, values = estimate(world, path, "--unknown-labels", "ignore")
    assert code == 0
    assert values["points"]["excluded"] == {
        "without a reference class": ["1", "2", "3"],
        "of an unknown class": ["4"],
        "outside the map": ["902"],
        "where the map has no class": ["903"],
        "in a pixel that another point has": ["901"],
    }
    assert values["points"]["used"] == 296
    assert values["points"]["given"] == 303
    text = (world / "result" / "report.md").read_text()
    assert "left out: 3 without a reference class, 1 of an unknown class, 1 outside" in text
    assert "- of an unknown class: 4" in text


def test_the_report_counts_pixels_left_out_and_tells_the_design(world):
    codes = read(world / "map.tif").copy()
    codes[60:, :90] = 255
    write(world / "map.tif", codes, tags={"legend": "landcover9"})
    folder = design(world, "--samples", 300, "--exclude-codes", 255, "--seed", 7)
    estimate(world, label(folder, world / "truth.tif"))
    expected = [
        # 120 x 120 px, of which 60 x 90 are uncertain and 10 x 20 empty.
        "Of the map's 14,400 pixels, 8,800 (61.1 %) have a class of legend landcover9; 200 (1.4 %) "
        "have none (background / no data); 5,400 (37.5 %) have code 255, which was read as no data "
        "by request.",
        "The design drew 300 points from map.tif: proportional allocation, seed 7.",
    ]
    text = (world / "result" / "report.md").read_text()
    assert all(f"\n{sentence}\n" in text for sentence in expected)
    assert "; reference `points.gpkg`.\n" in text
    (section,) = assessments([world / "result" / "estimate.json"], None)
    assert set(expected) <= set(section.paragraphs)
    write(world / "map.tif", read(world / "truth.tif"))
    estimate(world, folder / "points.gpkg")
    text = (world / "result" / "report.md").read_text()
    assert "It could not draw 200 pixels without class, and 5,400 of code 255 by request." in text


def test_a_reference_legend_is_translated(world):
    folder = design(world, "--samples", 300)
    _, expected = estimate(world, label(folder, world / "truth.tif"))
    for own, foreign in ((20, 10), (10, 40), (60, 80)):  # WorldCover: trees, cropland, water.
        change(folder / "points.gpkg", "UPDATE points SET comment = ? WHERE reference = ?",
               str(foreign), own)  # fmt: skip
    code, found = estimate(world, folder / "points.gpkg", "--reference-column", "comment",
                           "--reference-legend", "worldcover")  # fmt: skip
    assert code == 0
    assert found["confusion_counts"] == expected["confusion_counts"]


@pytest.mark.parametrize(
    ("legend", "codes", "without"),
    [
        ("esri", (5, 2, 1), 10),
        ("clcplus", (7, 2, 10), 254),
        ("corine", (211, 311, 512), 999),
        ("dynamicworld", (4, 1, 0), 255),
    ],
)
def test_a_code_that_the_crosswalk_makes_no_data_is_not_unknown(world, legend, codes, without):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    pairs = " ".join(f"WHEN {own} THEN {code}" for own, code in zip(CLASSES, codes, strict=True))
    change(path, f"UPDATE points SET reference = CASE reference {pairs} END")
    change(path, "UPDATE points SET reference = ? WHERE id <= 5", without)
    change(path, "UPDATE points SET reference = 77 WHERE id = 6")
    flags = ("--reference-legend", legend)
    assert estimate(world, path, *flags)[0] == 2, "77 is unknown"
    code, values = estimate(world, path, *flags, "--unknown-labels", "ignore")
    assert code == 0
    assert values["points"]["excluded"] == {
        "of a code without a class in the map's legend": ["1", "2", "3", "4", "5"],
        "of an unknown class": ["6"],
    }
    assert 0.8 < values["overall_accuracy"]["value"] < 0.95


def test_class_names_are_those_of_the_reference_legend(world, capsys):
    """Names that both legends have stand for other codes than the map's."""
    path = world / "mine.toml"
    path.write_text(
        'name = "mine"\n[crosswalks.landcover9]\n1 = 10\n10 = 20\n20 = 60\n'
        + "".join(
            f'[[classes]]\ncode = {code}\nname = "{name}"\ncolor = "#000000"\n'
            for code, name in ((1, "fields"), (10, "forests"), (20, "water"))
        )
    )
    points = label(design(world, "--samples", 300), world / "map.tif")
    for name, own in (("fields", 10), ("forests", 20), ("water", 60)):
        change(points, "UPDATE points SET comment = ? WHERE reference = ?", name, own)
    column = ("--reference-column", "comment")
    code, found = estimate(world, points, *column, "--reference-legend", path)
    assert code == 0
    assert found["overall_accuracy"]["value"] == 1
    assert estimate(world, points, *column, "--reference-legend", "worldcover")[0] == 2
    assert "a class name of legend worldcover" in capsys.readouterr().err


def test_points_of_unknown_origin_give_agreement_only(world, capsys):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    (folder / "design.json").unlink()
    assert estimate(world, path)[0] == 2
    assert "--not-a-probability-sample" in capsys.readouterr().err
    code, values = estimate(world, path, "--not-a-probability-sample")
    assert code == 0
    assert values["probability_sample"] is False
    assert "area_ha" not in values["classes"][0]
    matrix = np.array(values["confusion_counts"])
    assert values["overall_accuracy"] == {"value": np.trace(matrix) / 300}
    text = (world / "result" / "report.md").read_text()
    assert text.startswith("# Agreement with reference points")
    assert "ccuracy and area" not in text
    assert "user's agreement" in text
    assert "user's accuracy" not in text


def test_points_of_the_sample_without_a_label_are_counted_and_warned_of(world):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    assert estimate(world, path)[0] == 0
    text = (world / "result" / "report.md").read_text()
    assert "points of the sample were not used" not in text
    wrong = [row["id"] for row in read_points(path).rows if row["reference"] != row["stratum"]]
    drawn = [row["stratum"] for row in read_points(path).rows]
    change(path, "UPDATE points SET reference = NULL WHERE reference != stratum AND id != ?",
           wrong[-1])  # fmt: skip
    # A point that is no longer in the file has no label either; one that is in it twice has one.
    change(path, "DELETE FROM points WHERE id = ?", wrong[-1])
    columns = "stratum, reference FROM points WHERE reference IS NOT NULL LIMIT 1"
    change(path, f"INSERT INTO points (geom, id, stratum, reference) SELECT geom, 901, {columns}")
    code, values = estimate(world, path)
    assert code == 0
    text = (world / "result" / "report.md").read_text()
    assert f"\n{len(wrong)} of 300 points of the sample were not used for want of a label" in text
    assert "| code | pixels | drawn points | labelled points |" in text
    for stratum in values["strata"]:
        row = [stratum["code"], f"{stratum['pixels']:,}", drawn.count(stratum["code"])]
        assert f"| {' | '.join(map(str, row))} | {stratum['points']} |" in text
    # Of a stratum that nobody speaks for, no label is missed.
    estimate(world, path, "--leave-out-strata", 60)
    water = drawn.count(60)
    missed = len(wrong) - water + values["strata"][2]["points"]
    text = (world / "result" / "report.md").read_text()
    assert f"\n{missed} of {300 - water} points of the sample" in text
    # Without a record of the design, the file is all that is known.
    estimate(world, path, "--strata-map", world / "map.tif")
    text = (world / "result" / "report.md").read_text()
    assert f"\n{len(wrong) - 1} of 299 points of the sample" in text
    assert f"| 60 | {values['strata'][2]['pixels']:,} | - |" in text


def test_every_interval_without_width_is_explained(world):
    """Water is always found, and the map's woods are all wrong."""
    path = label(design(world, "--samples", 300), world / "map.tif")
    change(path, "UPDATE points SET reference = 10 WHERE stratum = 20")
    code, values = estimate(world, path)
    assert code == 0
    text = (world / "result" / "report.md").read_text()
    expected = (
        "Intervals have no width for overall accuracy; mean F1; mean IoU; "
        "user's accuracy of agricultural areas, forests, water bodies; "
        "producer's accuracy of agricultural areas, water bodies; "
        "F1 of agricultural areas, forests, water bodies; "
        "IoU of agricultural areas, forests, water bodies; "
        "the area of agricultural areas, water bodies: the points of each stratum are all alike"
    )
    assert expected in text
    assert "up to about 3/n of what" in text, "-ln(0.05)"
    estimate(world, path, "--confidence-level", 0.9)
    assert "up to about 2.3/n of what" in (world / "result" / "report.md").read_text(), "-ln(0.1)"
    unmet = [c["name"] for c in values["classes"] if c["code"] not in (10, 60)]
    assert f"No point where the map has a class has {', '.join(unmet)} in the reference" in text
    woods = values["classes"][1]["area_ha"]
    assert f"| < {woods['high']:.1f} | < " in text


def test_a_map_without_crs_is_sampled_and_estimated_without_hectares(world):
    codes, truth = read(world / "map.tif"), read(world / "truth.tif")
    write(world / "map.tif", codes, crs=None)
    write(world / "truth.tif", truth, crs=None)
    path = label(design(world, "--samples", 300), world / "truth.tif")
    code, values = estimate(world, path)
    assert code == 0
    assert values["classes"][0]["area_ha"] is None
    assert "mapped pixels" in (world / "result" / "report.md").read_text()
    assert compare(world, world / "truth.tif")[0] == 0
