"""`landcover assess estimate`: from labelled points to accuracy and area."""

import csv
import json
import re

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import (
    CLASSES,
    SIZE,
    change,
    compare,
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
from rasterio.warp import transform

from landcover_tf.accuracy.probabilities import calibration
from landcover_tf.geopackage import Layer, point_blob, read_points, write_layer
from landcover_tf.legend import IGNORED, load_legend
from landcover_tf.report.assessment_sections import assessments


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


def test_points_of_another_crs_and_class_names_give_the_same(world):
    folder = design(world, "--samples", 300)
    _, expected = estimate(world, label(folder, world / "truth.tif"))
    points = read_points(folder / "points.gpkg")
    names = dict(zip(*(lambda lg: (lg.codes, lg.names))(load_legend("landcover9")), strict=True))
    lon, lat = transform("EPSG:32634", "EPSG:4326", points.x, points.y)
    with (folder / "named.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "lon", "lat", "stratum", "seen"])
        for row, x, y in zip(points.rows, lon, lat, strict=True):
            writer.writerow([row["id"], x, y, row["stratum"], names[row["reference"]]])
    code, found = estimate(world, folder / "named.csv", "--reference-column", "seen")
    assert code == 0
    assert found["classes"] == expected["classes"]
    assert found["points"]["reprojected_from"] == "EPSG:4326"
    assert "reprojected from EPSG:4326" in (world / "result" / "report.md").read_text()


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
    assert run(*arguments) == 2
    assert run(*arguments, "--strata-map", world / "map.tif") == 0
    again = json.loads((world / "result" / "estimate.json").read_text())
    assert estimated(again) == estimated(counted)


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


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM points WHERE stratum = 60", r"stratum 60 \([\d,]+ px\) has no labelled"),
        ("UPDATE points SET reference = NULL WHERE stratum = 60 AND id != "
         "(SELECT min(id) FROM points WHERE stratum = 60)", "has 1 labelled point;"),
        ("UPDATE points SET reference = NULL", "none of 300 reference points can be used: 300 "
         "without"),
        ("UPDATE points SET reference = 'lava' WHERE id = 7", "point 7 has reference 'lava'"),
        ("UPDATE points SET reference = 9e999 WHERE id = 7", "point 7 has reference 'inf'"),
        ("UPDATE points SET reference = 1e30 WHERE id = 7", "point 7 has reference '1e.30'"),
        ("UPDATE points SET reference = 1e18 WHERE id = 7", r"classes \[10{18}\]"),
        ("UPDATE points SET reference = 77 WHERE id = 7", r"classes \[77\].*at points 7"),
        ("UPDATE points SET stratum = 20 WHERE stratum = 10", "were moved"),
        ("UPDATE points SET geom = NULL WHERE id = 7", "without geometry"),
    ],
)  # fmt: skip
def test_bad_points_end_with_one_sentence(world, capsys, sql, message):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    change(path, sql)
    capsys.readouterr()
    code, _ = estimate(world, path)
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not (world / "result").exists()


def test_a_table_that_a_spreadsheet_saved(world, capsys):
    folder = design(world, "--samples", 300)
    _, expected = estimate(world, label(folder, world / "truth.tif"))
    points = read_points(folder / "points.gpkg")
    lines = ["id;x;y;stratum;reference"]
    for row, x, y in zip(points.rows, points.x, points.y, strict=True):
        lines.append(f"{row['id']};{x};{y};{row['stratum']};{row['reference']}")
    (folder / "points.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    code, found = estimate(world, folder / "points.csv")
    assert code == 0
    assert found["classes"] == expected["classes"]
    # With a decimal comma, as the countries that separate by semicolons have it.
    commas = [lines[0], *(line.replace(".", ",") for line in lines[1:])]
    (folder / "points.csv").write_text("\n".join(commas))
    assert estimate(world, folder / "points.csv")[1]["classes"] == expected["classes"]
    (folder / "points.csv").write_text("\n".join([lines[0] + ";Größe"]), encoding="cp1252")
    assert estimate(world, folder / "points.csv")[0] == 2
    assert "is not a table in UTF-8" in capsys.readouterr().err
    lines[3] += ";10;20"
    lines[7] = lines[7].rsplit(";", 1)[0]
    (folder / "points.csv").write_text("\n".join(lines))
    assert estimate(world, folder / "points.csv")[0] == 2
    assert "points 3, 7 (counted from 1) have not as many cells" in capsys.readouterr().err


def test_a_column_stratum_that_is_not_needed_may_hold_anything(world, capsys):
    points = read_points(label(design(world, "--samples", 300), world / "truth.tif"))
    lines = ["X,Y,stratum,reference"]
    for row, x, y in zip(points.rows, points.x, points.y, strict=True):
        lines.append(f"{x},{y},dark wood,{row['reference']}")
    path = world / "points.csv"
    path.write_text("\n".join(lines))
    code, values = estimate(world, path, "--strata-map", world / "map.tif")
    assert code == 0
    assert values["points"]["used"] == 300
    assert estimate(world, path, "--not-a-probability-sample")[0] == 0
    assert estimate(world, path, "--design", world / "sample" / "design.json")[0] == 2
    assert "point 1 has stratum 'dark wood'" in capsys.readouterr().err
    assert estimate(world, path, "--not-a-probability-sample", "--layer", "points")[0] == 2
    assert "--layer points is that of a GeoPackage" in capsys.readouterr().err


def test_the_layer_of_a_geopackage_with_several(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    _, expected = estimate(world, path)
    change(path, "UPDATE gpkg_geometry_columns SET geometry_type_name = 'GEOMETRY'")
    assert estimate(world, path) == (0, expected)
    change(path, "UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'")
    change(path, "CREATE TABLE notes (fid INTEGER PRIMARY KEY, geom POINT)")
    contents = "gpkg_contents (table_name, data_type, identifier, last_change, srs_id)"
    date = "2020-01-01T00:00:00Z"
    change(path, f"INSERT INTO {contents} VALUES ('notes', 'features', 'notes', ?, 32634)", date)
    change(path, "INSERT INTO gpkg_geometry_columns VALUES ('notes', 'geom', 'POINT', 32634, 0, 0)")
    assert estimate(world, path)[0] == 2
    assert "it has: points, notes; name the one to use with --layer" in capsys.readouterr().err
    assert estimate(world, path, "--layer", "points") == (0, expected)
    assert estimate(world, path, "--layer", "point")[0] == 2
    assert "has no layer 'point'; its layers are: points, notes" in capsys.readouterr().err


def test_a_place_that_is_not_on_earth_is_outside_the_map(world):
    (world / "points.csv").write_text(
        "id,lon,lat,reference\na,21,95,10\nb,nan,39.7,10\nc,21.005,39.745,10\n"
    )
    code, values = estimate(world, world / "points.csv", "--not-a-probability-sample")
    assert code == 0
    assert values["points"]["excluded"] == {"outside the map": ["a", "b"]}
    # Spreadsheets and QGIS write the name in any letters.
    table = (world / "points.csv").read_text()
    for name in ("ID", "FID", " Id"):
        (world / "points.csv").write_text(table.replace("id,", f"{name},", 1))
        _, again = estimate(world, world / "points.csv", "--not-a-probability-sample")
        assert again["points"] == values["points"]


def test_there_must_be_a_stratum_and_a_folder(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    assert estimate(world, path, "--leave-out-strata", 10, 20, 60)[0] == 2
    assert "leaves no stratum" in capsys.readouterr().err
    (world / "result").write_text("a file")
    assert estimate(world, path)[0] == 2
    assert "cannot write" in capsys.readouterr().err


def test_contradicting_labels_of_one_pixel_are_refused(world, capsys):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    points = read_points(path)
    other = 10 if points.rows[0]["reference"] != 10 else 20
    insert = "INSERT INTO points (geom, id, stratum, reference) VALUES (?, 901, ?, ?)"
    blob = point_blob(points.x[0], points.y[0], 32634)
    change(path, insert, blob, points.rows[0]["stratum"], other)
    assert estimate(world, path)[0] == 2
    assert "points 1 and 901 lie in one pixel" in capsys.readouterr().err


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


def test_probabilities_of_left_out_strata_do_not_count():
    known, none = [0.75, 0.25], [np.nan, np.nan]
    reference = np.array([0, 1, 0])
    found = calibration(np.array([known, known, none]), reference, np.array([2.0, 0.0, 1.0]))
    assert (found["points"], found["accuracy_of_the_likeliest_class"]) == (1, 1.0)
    assert calibration(np.array([none, known, none]), reference, np.array([2.0, 0.0, 1.0])) == {
        "points": 0
    }


def test_probabilities_are_checked_and_judged(world, capsys):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    codes = read(world / "map.tif")
    index = load_legend("landcover9").index_of_code[codes]
    levels = np.full((8, SIZE, SIZE), 6, np.uint8)  # 7 * 6 + 212 = 254.
    np.put_along_axis(levels, np.where(index == IGNORED, 0, index)[None].astype(int), 212, axis=0)
    levels[:, codes == 0] = 255
    raster = write(world / "probabilities.tif", levels, nodata=255)
    with rasterio.open(raster, "r+") as dataset:
        dataset.scales = (1 / 254,) * 8
    code, values = estimate(world, path, "--probabilities", raster)
    assert code == 0
    found = values["calibration"]
    assert found["mean_confidence"] == pytest.approx(212 / 254)
    assert found["accuracy_of_the_likeliest_class"] == pytest.approx(
        values["overall_accuracy"]["value"]
    )
    text = (world / "result" / "report.md").read_text()
    assert "has a mean probability of 0.835" in text, "212 / 254"
    levels[2] = 3
    write(raster, levels, nodata=255)
    with rasterio.open(raster, "r+") as dataset:
        dataset.scales = (1 / 254,) * 8
    levels_code, _ = estimate(world, path, "--probabilities", raster)
    assert levels_code == 0, "three levels are within the rounding of eight classes"
    levels[5] //= 2
    write(raster, levels, nodata=255)
    with rasterio.open(raster, "r+") as dataset:
        dataset.scales = (1 / 254,) * 8
    capsys.readouterr()
    assert estimate(world, path, "--probabilities", raster)[0] == 2
    assert "do not sum to 1 at points" in capsys.readouterr().err


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
