"""`landcover assess` as a program: from a map to points, estimates and comparisons."""

import csv
import json
import re
import sqlite3

import numpy as np
import pytest
import rasterio
from defusedxml import ElementTree
from rasterio.crs import CRS
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform

from landcover_tf import assess
from landcover_tf.accuracy.scores import confusion_matrix
from landcover_tf.geopackage import Layer, point_blob, read_points, write_layer
from landcover_tf.legend import IGNORED, load_legend

CLASSES = np.array([10, 20, 60], np.uint8)
SIZE = 120
GRID = rasterio.Affine(10, 0, 500_000, 0, -10, 4_400_000)


def write(path, values, *, crs="EPSG:32634", grid=GRID, nodata=0, names=(), tags=None):
    values = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2],
        count=len(values), dtype=values.dtype, crs=crs, transform=grid, nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(values)
        raster.update_tags(**(tags or {}))
        for i, name in enumerate(names, 1):
            raster.set_band_description(i, name)
    return path


@pytest.fixture
def world(tmp_path):
    """Folder with map.tif, which is wrong in every fifth pixel and has no data, and truth.tif."""
    rng = np.random.default_rng(5)
    truth = np.kron(rng.choice(CLASSES, (12, 12), p=[0.6, 0.3, 0.1]), np.ones((10, 10), np.uint8))
    mapped = np.where(rng.random(truth.shape) < 0.2, rng.choice(CLASSES, truth.shape), truth)
    mapped[:10, :20] = 0
    write(tmp_path / "map.tif", mapped.astype(np.uint8), tags={"legend": "landcover9"})
    write(tmp_path / "truth.tif", truth)
    return tmp_path


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def run(*arguments):
    return assess.main([str(a) for a in arguments])


def design(world, *arguments, out="sample"):
    code = run("design", "--map", world / "map.tif", "--output-dir", world / out, *arguments)
    assert code == 0
    return world / out


def label(folder, truth):
    """Fills the column `reference` of points.gpkg with what the truth has there."""
    points = read_points(folder / "points.gpkg")
    with rasterio.open(truth) as raster:
        codes = [int(v[0]) for v in raster.sample(zip(points.x, points.y, strict=True))]
    with sqlite3.connect(folder / "points.gpkg") as connection:
        for row, code in zip(points.rows, codes, strict=True):
            connection.execute("UPDATE points SET reference = ? WHERE fid = ?", (code, row["fid"]))
    return folder / "points.gpkg"


def estimate(world, reference, *arguments):
    """Returns exit code and values of an estimate of the world's map."""
    out = world / "result"
    code = run("estimate", "--map", world / "map.tif", "--reference", reference,
               "--output-dir", out, *arguments)  # fmt: skip
    path = out / "estimate.json"
    return code, json.loads(path.read_text()) if code == 0 else None


def change(path, sql, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(sql, values)


def test_a_design_is_complete_and_repeatable(world):
    first = design(world, "--target-se", 0.03, "--seed", 4, "--expected-accuracy", 0.8, "60=0.9")
    other = design(world, "--config", first / "assess_design.json", "--rows-per-strip", 7,
                   out="again")  # fmt: skip
    for name in ("points.gpkg", "points.csv", "points.qml", "design.json"):
        assert (first / name).read_bytes() == (other / name).read_bytes(), name
    record = json.loads((first / "design.json").read_text())
    codes = read(world / "map.tif")
    assert record["seed"] == 4
    assert record["nodata_pixels"] == 200
    assert record["expected_se"] <= 0.03
    for stratum in record["strata"]:
        assert stratum["pixels"] == (codes == stratum["code"]).sum()
        assert stratum["points"] >= 50
    points = read_points(first / "points.gpkg")
    assert points.crs == CRS.from_epsg(32634)
    assert len(points.rows) == record["points"] == sum(s["points"] for s in record["strata"])
    with rasterio.open(world / "map.tif") as raster:
        found = [v[0] for v in raster.sample(zip(points.x, points.y, strict=True))]
    assert found == [row["stratum"] for row in points.rows]
    assert all(row["reference"] is None for row in points.rows)
    with (first / "points.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["x"]) for row in table] == points.x


def test_the_style_offers_the_legend_and_hides_the_stratum(world):
    folder = design(world, "--samples", 150)
    root = ElementTree.parse(folder / "points.qml").getroot()
    legend = load_legend("landcover9")
    renderer = root.find("renderer-v2")
    assert renderer.get("attr") == "reference"
    values = [c.get("value") for c in renderer.iter("category")]
    assert values == [*(str(c) for c in legend.codes), ""]
    symbols = {s.get("name") for s in renderer.iter("symbol")}
    assert {c.get("symbol") for c in renderer.iter("category")} == symbols
    fields = {f.get("name"): f.find("editWidget") for f in root.iter("field")}
    assert fields["stratum"].get("type") == "Hidden"
    choices = [o.get("name") for o in fields["reference"].iter("Option") if o.get("value")]
    assert choices == list(legend.names)


def test_pictures_show_the_surroundings_of_their_point(world):
    image = np.full((4, SIZE, SIZE), 1000, np.uint16)
    image[0] = np.arange(SIZE)[:, None] * 20 + 500
    image[:, :, 110:] = 0
    grid = GRID  # The same grid; only its columns from 110 on have no data.
    write(world / "image.tif", image, names=("B04", "B03", "B02", "B08"), grid=grid)
    folder = design(world, "--samples", 150, "--image", world / "image.tif", "--picture-m", 160)
    points = read_points(folder / "points.gpkg")
    without = [row["picture"] is None for row in points.rows]
    assert without == [(x - 500_000) // 10 >= 110 for x in points.x]
    named = [row for row in points.rows if row["picture"]]
    assert {row["picture"] for row in named} == {
        f"pictures/{p.name}" for p in (folder / "pictures").iterdir()
    }
    assert named[0]["picture"] == f"pictures/{named[0]['id']:05d}.png"
    from matplotlib.image import imread

    picture = imread(folder / named[0]["picture"])
    assert picture.shape[0] == picture.shape[1] >= 320


def test_an_existing_folder_is_never_overwritten(world, capsys):
    folder = design(world, "--samples", 150)
    label(folder, world / "truth.tif")
    assert run("design", "--map", world / "map.tif", "--output-dir", folder) == 2
    assert "exists already" in capsys.readouterr().err
    assert read_points(folder / "points.gpkg").rows[0]["reference"] is not None


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
        assert land_cover["mapped_area_ha"] == pytest.approx(
            (codes == land_cover["code"]).sum() * 0.01
        )
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
    # The strata hold 142 ha, of which 4 ha are the hole.
    assert values["assessed_area_ha"] == pytest.approx(138, abs=4)
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
    assert again["classes"] == values["classes"]


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


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM points WHERE stratum = 60", r"stratum 60 \([\d,]+ px\) has no labelled"),
        ("UPDATE points SET reference = NULL WHERE stratum = 60 AND id != "
         "(SELECT min(id) FROM points WHERE stratum = 60)", "has 1 labelled point;"),
        ("UPDATE points SET reference = NULL", "none of 300 reference points can be used: 300 "
         "without"),
        ("UPDATE points SET reference = 'lava' WHERE id = 7", "point 7 has reference 'lava'"),
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


def compare(world, *arguments):
    out = world / "comparison"
    code = run("compare", "--map", world / "map.tif", "--reference-map", *arguments,
               "--block-m", 300, "--bootstrap-samples", 200, "--output-dir", out)  # fmt: skip
    return code, json.loads((out / "compare.json").read_text()) if code == 0 else None


def expected_matrix(codes, truth):
    index = load_legend("landcover9").index_of_code
    return confusion_matrix(np.where(codes == 0, IGNORED, index[truth]), index[codes], 8)


def test_comparing_two_rasters_of_one_grid(world):
    code, values = compare(world, world / "truth.tif", "--rows-per-strip", 17)
    assert code == 0
    codes, truth = read(world / "map.tif"), read(world / "truth.tif")
    np.testing.assert_array_equal(values["confusion_counts"], expected_matrix(codes, truth))
    assert values["pixels"] == {"compared": 14_200, "without_reference_class": 0,
                                "without_map_class": 200, "without_both": 0}  # fmt: skip
    overall = values["overall_accuracy"]
    assert overall["low"] < overall["value"] < overall["high"]
    assert values["blocks"] == 16
    assert sum(p["pixels"] for p in values["by_object_size"]) == 14_200
    assert sum(p["pixels"] for p in values["by_boundary_distance"]) == 14_200
    agreement = read(world / "comparison" / "agreement.tif")
    np.testing.assert_array_equal(agreement == 1, codes == truth)
    assert (agreement[:10, :20] == 4).all()
    with rasterio.open(world / "comparison" / "agreement.tif") as raster:
        assert raster.crs == CRS.from_epsg(32634)
        assert raster.transform == GRID
        assert raster.colormap(1)[1] == (46, 125, 110, 255)
        assert raster.tags(1)["CLASS_2"] == "disagreement"
    text = (world / "comparison" / "report.md").read_text()
    assert "agreement with it, not accuracy" in text
    assert "16 squares are few" in text
    _, again = compare(world, world / "truth.tif")
    assert {k: v for k, v in again.items() if k != "config"} == values


def test_the_reference_may_have_another_grid_and_another_legend(world):
    truth = read(world / "truth.tif")
    foreign = np.zeros(256, np.uint8)
    foreign[[10, 20, 60]] = [40, 10, 80]
    # Twice as fine: each map pixel is the commonest class of four equal ones.
    fine = np.kron(foreign[truth], np.ones((2, 2), np.uint8))
    write(world / "fine.tif", fine, grid=rasterio.Affine(5, 0, 500_000, 0, -5, 4_400_000))
    code, values = compare(world, world / "fine.tif", "--reference-legend", "worldcover",
                           "--rows-per-strip", 31)  # fmt: skip
    assert code == 0
    codes = read(world / "map.tif")
    np.testing.assert_array_equal(values["confusion_counts"], expected_matrix(codes, truth))
    # In degrees: read by this program, and by one warp of the whole map.
    grid, width, height = calculate_default_transform(
        "EPSG:32634", "EPSG:4326", SIZE, SIZE, 500_000, 4_398_800, 501_200, 4_400_000
    )
    degrees = np.zeros((height, width), np.uint8)
    reproject(truth, degrees, src_transform=GRID, src_crs="EPSG:32634", dst_transform=grid,
              dst_crs="EPSG:4326", resampling=Resampling.nearest)  # fmt: skip
    write(world / "degrees.tif", degrees, crs="EPSG:4326", grid=grid)
    results = [
        compare(world, world / "degrees.tif", "--rows-per-strip", rows)[1] for rows in (13, 500)
    ]
    assert results[0] == results[1]
    assert results[0]["pixels"]["compared"] > 13_500
    difference = np.abs(np.array(results[0]["confusion_counts"]) - values["confusion_counts"])
    assert difference.sum() < 0.12 * 14_200, "only pixels at boundaries may differ"


def test_bad_references_of_a_comparison(world, capsys):
    strange = read(world / "truth.tif").copy()
    strange[3, 60:64] = 77
    write(world / "strange.tif", strange)
    write(world / "far.tif", strange, grid=rasterio.Affine(10, 0, 700_000, 0, -10, 4_400_000))
    write(world / "empty.tif", np.zeros_like(strange))
    (world / "text.tif").write_text("no raster")
    for name, message in (
        ("strange.tif", "has codes [77]"),
        ("far.tif", "does not overlap the map"),
        ("empty.tif", "no pixel with a class in both"),
        ("text.tif", "is not a raster"),
        ("absent.tif", "does not exist"),
    ):
        assert compare(world, world / name)[0] == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (world / "comparison" / "agreement.tif").exists()
    code, values = compare(world, world / "strange.tif", "--unknown-labels", "ignore")
    assert code == 0
    assert values["unknown_reference_codes"]["77"] >= 4
    assert values["pixels"]["without_reference_class"] == 4


def test_flags_that_make_no_sense(world, capsys):
    base = ["--map", world / "map.tif"]
    for arguments, message in (
        (["design", *base, "--output-dir", world / "s", "--target-se", 0], "--target-se"),
        (["design", *base, "--output-dir", world / "s", "--min-per-class", 1], "--min-per-class"),
        (["design", *base, "--output-dir", world / "s", "--seed", -1], "--seed"),
        (["compare", *base, "--reference-map", "x.tif", "--block-m", 0], "--block-m"),
        (["estimate", *base, "--reference", "x.gpkg", "--confidence", 1], "--confidence"),
        (["estimate", *base, "--reference", "x.gpkg", "--design", "d.json",
          "--not-a-probability-sample"], "excludes --design"),
        (["estimate", *base, "--reference", world / "map.tif",
          "--not-a-probability-sample"], "must be a GeoPackage"),
        (["estimate", *base, "--reference", world / "x.csv",
          "--not-a-probability-sample"], "does not exist"),
        (["judge"], "no part 'judge'"),
    ):  # fmt: skip
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
    assert run("--help") == 0
    assert "design" in capsys.readouterr().out


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
