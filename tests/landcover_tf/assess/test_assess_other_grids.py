"""`landcover assess estimate` when the sample was drawn from a map of another grid."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import (
    CLASSES,
    GRID,
    SIZE,
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
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform

from landcover_tf.accuracy import coverage
from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.vectors.geopackage import read_points


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def write_in_zone_35(path, codes):
    """Warps codes of the world's grid into the neighbouring UTM zone, and returns them."""
    grid, width, height = calculate_default_transform(
        "EPSG:32634", "EPSG:32635", SIZE, SIZE, 500_000, 4_398_800, 501_200, 4_400_000
    )
    # Two pixels more on each side, so that none is cut off.
    grid = grid @ rasterio.Affine.translation(-2, -2)
    warped = np.zeros((height + 4, width + 4), np.uint8)
    reproject(codes, warped, src_transform=GRID, src_crs="EPSG:32634", dst_transform=grid,
              dst_crs="EPSG:32635", resampling=Resampling.nearest)  # fmt: skip
    write(path, warped, crs="EPSG:32635", grid=grid)
    return warped


@pytest.fixture
def coarse_sample(world):
    """A sample of a map of the same area in 20 m pixels, drawn and labelled on that grid."""
    truth = read(world / "truth.tif")
    grid = rasterio.Affine(20, 0, 500_000, 0, -20, 4_400_000)
    write(world / "coarse.tif", truth[::2, ::2], grid=grid)
    code = run("design", "--map", world / "coarse.tif", "--output-dir", world / "coarse",
               "--samples", 600, "--min-per-class", 30)  # fmt: skip
    assert code == 0
    return label(world / "coarse", world / "truth.tif")


def test_hectares_are_those_of_the_sampled_pixels(world, coarse_sample):
    """Strata of 20 m pixels, assessed map of 10 m: the area is that of 120 x 120 px of 10 m."""
    code, values = estimate(world, coarse_sample)
    assert code == 0
    assert values["estimator"].startswith("Stehman")
    # No data is 2 ha; how many of the points lie there is chance.
    assert values["assessed_area_ha"] == pytest.approx(142, abs=3)
    truth = read(world / "truth.tif")
    for land_cover in values["classes"]:
        area, fact = land_cover["area_ha"], (truth == land_cover["code"]).sum() * 0.01
        assert abs(area["value"] - fact) < 4 * area["standard_error"] + 2
        assert area["high"] <= values["assessed_area_ha"]
    # The coarse map as strata says the same as the record of its design, of a counted area.
    _, again = estimate(world, coarse_sample, "--strata-map", world / "coarse.tif")
    assert again["assessed_area_ha"] == pytest.approx(142)
    for one, other in zip(estimated(again), estimated(values), strict=True):
        assert one.pop("area_ha")["value"] == pytest.approx(142 * one["area_fraction"]["value"])
        other.pop("area_ha")
        assert one == other


def test_areas_are_those_of_the_strata_where_the_map_is_larger(world):
    path = label(design(world, "--samples", 600), world / "truth.tif")
    small = read(world / "map.tif")
    shutil.copy(world / "map.tif", world / "strata.tif")
    write(world / "map.tif", np.tile(small, (1, 2)), tags={"legend": "landcover9"})
    _, values = estimate(world, path)
    # The record does not say where the strata end, so the points tell what is mapped in them.
    assert values["map_area_ha"] == pytest.approx(284)
    assert values["assessed_area_ha"] == pytest.approx(142)
    for land_cover in values["classes"]:
        fact, mapped = (small == land_cover["code"]).sum() * 0.01, land_cover["mapped_area_ha"]
        assert mapped["value"] == pytest.approx(fact), "the strata are where the small map is"
    text = (world / "result" / "report.md").read_text()
    assert "it classifies 142.0 ha of the strata, and 284.0 ha in all" in text
    assert "estimated from the points" in text
    _, values = estimate(world, path, "--strata-map", world / "strata.tif")
    counted = {c["code"]: c["mapped_pixels"] for c in values["classes"] if c["mapped_pixels"]}
    assert counted == {code: (small == code).sum() for code in CLASSES}
    text = (world / "result" / "report.md").read_text()
    assert "14,200 of the 28,400 pixels that the map classifies, 142.0 ha of 284.0 ha." in text
    assert f"| forests | {(small == 20).sum() * 0.01:.1f} |" in text


def test_areas_are_counted_where_an_older_map_of_the_same_pixels_had_a_class_everywhere(world):
    older = read(world / "map.tif").copy()
    older[older == 0] = 10
    write(world / "map.tif", older, tags={"legend": "landcover9"})
    path = label(design(world, "--samples", 300), world / "truth.tif")
    newer = read(world / "truth.tif").copy()
    newer[:20] = 0
    write(world / "map.tif", newer, tags={"legend": "landcover9"})
    code, values = estimate(world, path)
    assert code == 0
    assert values["assessed_area_ha"] == pytest.approx(120)
    for land_cover in values["classes"]:
        pixels = (newer == land_cover["code"]).sum()
        assert land_cover["mapped_pixels"] == pixels
        assert land_cover["mapped_area_ha"] == {"value": pytest.approx(pixels * 0.01)}
    # Without the stratum 60, nobody knows which pixels of the new map are left out.
    lost = (older == 60).sum()
    _, values = estimate(world, path, "--leave-out-strata", 60)
    assert values["map_pixels"]["in_strata"] is None
    for land_cover in values["classes"]:
        area, pixels = land_cover["mapped_area_ha"], (newer == land_cover["code"]).sum()
        assert max(pixels - lost, 0) * 0.01 - 1e-9 <= area["low"] <= area["value"]
        assert area["value"] <= area["high"] <= pixels * 0.01 + 1e-9
    text = (world / "result" / "report.md").read_text()
    assert "Areas on the map are estimated from the points as well" in text


def test_pixels_in_strata_of_another_grid_are_those_with_their_centre_in_them(world):
    strata = write_in_zone_35(world / "strata.tif", read(world / "truth.tif"))
    strata[:, 70:] = 0
    with rasterio.open(world / "strata.tif", "r+") as raster:
        raster.write(strata, 1)
        cols, rows = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
        x, y = transform("EPSG:32634", "EPSG:32635", (500_005 + 10 * cols).ravel(),
                         (4_399_995 - 10 * rows).ravel())  # fmt: skip
        drawn = np.array([v[0] for v in raster.sample(zip(x, y, strict=True))])
    expected = read(world / "map.tif").ravel()[np.isin(drawn, (10, 20))]
    found = coverage.in_strata_of(
        ClassMap.open(world / "map.tif"), ClassMap.open(world / "strata.tif"), (10, 20),
        rows_per_strip=17,
    )  # fmt: skip
    assert found.counted
    assert {c: n for c, n in found.most.items() if n} == {c: (expected == c).sum() for c in CLASSES}


def test_a_map_in_degrees_has_estimated_hectares_of_strata_in_metres(world):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    shutil.copy(world / "map.tif", world / "strata.tif")
    grid, width, height = calculate_default_transform(
        "EPSG:32634", "EPSG:4326", SIZE, SIZE, 500_000, 4_398_800, 501_200, 4_400_000
    )
    codes = np.zeros((height, width), np.uint8)
    reproject(read(world / "strata.tif"), codes, src_transform=GRID, src_crs="EPSG:32634",
              dst_transform=grid, dst_crs="EPSG:4326", resampling=Resampling.nearest)  # fmt: skip
    write(world / "map.tif", codes, crs="EPSG:4326", grid=grid, tags={"legend": "landcover9"})
    code, values = estimate(world, path, "--strata-map", world / "strata.tif")
    assert code == 0
    forests = values["classes"][1]
    assert (forests["mapped_area_ha"], forests["mapped_pixels"]) == (None, (codes == 20).sum())
    text = (world / "result" / "report.md").read_text()
    assert "| class | mapped pixels | estimated ha | estimated share |" in text
    area = forests["area_ha"]
    assert f"| {area['value']:.1f} [{area['low']:.1f}, {area['high']:.1f}] |" in text
    assert "There are no hectares" not in text


def test_points_of_a_finer_sample_that_share_a_pixel_are_no_duplicates(world):
    folder = design(world, "--samples", 900)
    path = label(folder, world / "truth.tif")
    grid = rasterio.Affine(60, 0, 500_000, 0, -60, 4_400_000)
    write(world / "map.tif", read(world / "map.tif")[::6, ::6], grid=grid)
    code, values = estimate(world, path)
    assert code == 0
    assert values["points"]["used"] == 900
    assert values["points"]["excluded"] == {}


def test_strata_may_have_their_own_reference_system_and_legend(world):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    (path.parent / "design.json").unlink()
    foreign = np.zeros(256, np.uint8)
    foreign[[10, 20, 60]] = [40, 95, 100]
    strata = write_in_zone_35(world / "strata.tif", foreign[read(world / "truth.tif")])
    arguments = ("--strata-map", world / "strata.tif")
    code, values = estimate(world, path, *arguments, "--strata-legend", "worldcover")
    assert code == 0
    # The strata need no names, only what is no data.
    assert estimate(world, path, *arguments) == (0, values)
    with rasterio.open(world / "strata.tif") as raster:
        table = list(zip(read_points(path).x, read_points(path).y, strict=True))
        x, y = transform("EPSG:32634", "EPSG:32635", *zip(*table, strict=True))
        drawn = [int(v[0]) for v in raster.sample(zip(x, y, strict=True))]
    for stratum in values["strata"]:
        assert stratum["points"] == drawn.count(stratum["code"])
        assert stratum["pixels"] == (strata == stratum["code"]).sum()


def test_codes_outside_of_the_legend_are_strata_like_others(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    codes = read(world / "map.tif").copy()
    codes[40:44] = 255
    write(world / "strata.tif", codes, tags={"legend": "landcover9"})
    arguments = ("--strata-map", world / "strata.tif")
    code, values = estimate(world, path, *arguments)
    assert code == 0
    assert values["strata"][-1]["code"] == 255
    assert values["strata"][-1]["pixels"] == 4 * SIZE
    # Points were drawn from the others only.
    rows = np.round((4_399_995 - np.array(read_points(path).y)) / 10)
    ids = np.flatnonzero((rows >= 40) & (rows < 44)) + 1
    change(path, f"DELETE FROM points WHERE id IN ({', '.join(map(str, ids))})")
    assert estimate(world, path, *arguments)[0] == 2
    assert "stratum 255 (480 px) has no labelled point" in capsys.readouterr().err
    code, values = estimate(world, path, *arguments, "--leave-out-strata", 255)
    assert code == 0
    assert values["strata_left_out"] == {"255": 480}
    assert values["map_pixels"]["in_strata"] == 14_200 - 480


def test_points_of_a_table_are_in_the_systems_of_their_design(world):
    """The assessed map is in another UTM zone than the map that was sampled."""
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    write_in_zone_35(world / "map.tif", read(world / "map.tif"))
    points = read_points(path)
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "stratum", "reference"])
        for row, x, y in zip(points.rows, points.x, points.y, strict=True):
            writer.writerow([x, y, row["stratum"], row["reference"]])
    _, expected = estimate(world, path)
    code, values = estimate(world, folder / "points.csv")
    assert code == 0
    assert values["classes"] == expected["classes"]
    assert values["overall_accuracy"]["value"] > 0.7


def test_x_and_y_are_in_the_system_of_the_map_that_was_sampled(world, capsys):
    """Whichever strata are named; that of the assessed map puts the points elsewhere."""
    folder = design(world, "--samples", 300)
    points = read_points(label(folder, world / "truth.tif"))
    shutil.copy(world / "map.tif", world / "strata.tif")
    write_in_zone_35(world / "map.tif", read(world / "map.tif"))
    strata = ("--strata-map", world / "strata.tif")
    _, expected = estimate(world, folder / "points.gpkg", *strata)
    lines = ["x,y,reference"]
    for row, x, y in zip(points.rows, points.x, points.y, strict=True):
        lines.append(f"{x},{y},{row['reference']}")
    for path in (folder / "points.csv", world / "points.csv"):
        path.write_text("\n".join(lines))
    code, found = estimate(world, folder / "points.csv", *strata)
    assert (code, found["classes"]) == (0, expected["classes"])
    text = (world / "result" / "report.md").read_text()
    assert "x and y, which were read in EPSG:32634, that of the sampling design." in text
    assert expected["points"]["assumed_crs"] is None
    # Without the record nothing tells.
    assert estimate(world, world / "points.csv", *strata)[0] == 2
    error = capsys.readouterr().err
    assert f"{world / 'strata.tif'} is in another one than {world / 'map.tif'}; name it" in error
    code, found = estimate(world, world / "points.csv", *strata, "--points-crs", "EPSG:32634")
    assert (code, found["classes"]) == (0, expected["classes"])
    assert found["points"]["assumed_crs"] is None
    code, found = estimate(world, folder / "points.csv", "--not-a-probability-sample")
    assert (code, found["points"]["reprojected_from"]) == (0, "EPSG:32634")


def test_a_layer_without_reference_system_gets_the_named_one(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    write_in_zone_35(world / "map.tif", read(world / "map.tif"))
    _, expected = estimate(world, path)
    assert estimate(world, path, "--points-crs", "EPSG:32634") == (0, expected)
    assert estimate(world, path, "--points-crs", "EPSG:32633")[0] == 2
    assert "is in EPSG:32634, --points-crs says EPSG:32633" in capsys.readouterr().err
    change(path, "UPDATE gpkg_geometry_columns SET srs_id = -1")
    assert estimate(world, path, "--points-crs", "EPSG:32634") == (0, expected)


def test_the_map_without_reference_system_is_named(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    codes = read(world / "map.tif")
    write(world / "strata.tif", codes, crs=None)
    assert estimate(world, path, "--strata-map", world / "strata.tif")[0] == 2
    assert f"{world / 'strata.tif'} has no CRS but the points have" in capsys.readouterr().err
    table = read_points(path)
    lines = [f"{x},{y},10" for x, y in zip(table.x, table.y, strict=True)]
    (world / "points.csv").write_text("\n".join(["x,y,reference", *lines]))
    assert estimate(world, world / "points.csv", "--strata-map", world / "strata.tif")[0] == 2
    expected = f"{world / 'strata.tif'} has no CRS but {world / 'map.tif'} has"
    assert expected in capsys.readouterr().err
    write(world / "map.tif", codes, crs=None)
    assert estimate(world, path)[0] == 2
    assert f"{world / 'map.tif'} has no CRS but the points have" in capsys.readouterr().err


def test_a_map_elsewhere_is_named(world, capsys):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    elsewhere = rasterio.Affine(10, 0, 700_000, 0, -10, 4_400_000)
    write(world / "map.tif", read(world / "map.tif"), grid=elsewhere)
    assert estimate(world, path)[0] == 2
    assert "none of 300 reference points lies where" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("no JSON", "design.json is not valid JSON"),
        (
            '{"schema_version": 1, "crs": "EPSG:99"}',
            "design.json is unfit: crs 'EPSG:99' is no reference .* --points-crs",
        ),
    ],
)
def test_a_design_that_is_not_needed_may_hold_anything(world, capsys, record, message):
    folder = design(world, "--samples", 300)
    path = label(folder, world / "truth.tif")
    points = read_points(path)
    table = ["x,y,reference"]
    for row, x, y in zip(points.rows, points.x, points.y, strict=True):
        table.append(f"{x},{y},{row['reference']}")
    (folder / "points.csv").write_text("\n".join(table))
    whole = json.loads((folder / "design.json").read_text())
    (folder / "design.json").write_text(record)
    arguments = ("--strata-map", world / "map.tif")
    code, expected = estimate(world, path, *arguments)
    assert code == 0
    assert estimate(world, folder / "points.csv", *arguments)[0] == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    arguments += ("--points-crs", "EPSG:32634")
    code, values = estimate(world, folder / "points.csv", *arguments)
    assert (code, values["classes"]) == (0, expected["classes"])
    # As the strata's record it is needed.
    (folder / "design.json").write_text(json.dumps(whole | {"crs": "EPSG:99"}))
    assert estimate(world, path)[0] == 2
    error = capsys.readouterr().err
    assert "design.json is not a complete sampling design: crs 'EPSG:99' is no ref" in error
