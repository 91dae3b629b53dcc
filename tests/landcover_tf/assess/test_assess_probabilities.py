"""`landcover assess estimate --probabilities`: the map's probabilities, judged at the points."""

import re

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import SIZE, design, estimate, label, make_world, read, write

from landcover_tf.accuracy.probabilities import calibration
from landcover_tf.legend import IGNORED, load_legend
from landcover_tf.vectors.geopackage import read_points


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_probabilities_of_left_out_strata_do_not_count():
    known, none = [0.75, 0.25], [np.nan, np.nan]
    reference = np.array([0, 1, 0])
    weight, ids = np.array([2.0, 0.0, 1.0]), ("a", "b", "c")
    found = calibration(np.array([known, known, none]), reference, weight, ids)
    assert (found["points"], found["accuracy_of_the_likeliest_class"]) == (1, 1.0)
    assert found["points_without_probabilities"] == ["c"]
    assert calibration(np.array([none, known, none]), reference, weight, ids) == {
        "points": 0,
        "points_without_probabilities": ["a", "c"],
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


def test_points_without_probabilities_are_counted_and_named(world):
    path = label(design(world, "--samples", 300), world / "truth.tif")
    points = read_points(path)
    levels = np.full((8, SIZE, SIZE), 1 / 8, np.float32)
    levels[:, : SIZE // 2] = np.nan
    raster = write(world / "probabilities.tif", levels, nodata=np.nan)
    code, values = estimate(world, path, "--probabilities", raster)
    assert code == 0
    # Row 60 begins at 4 400 000 - 60 * 10.
    upper = [str(row["id"]) for row, y in zip(points.rows, points.y, strict=True) if y > 4_399_400]
    found = values["calibration"]
    assert found["points_without_probabilities"] == upper
    assert found["points"] == values["points"]["used"] - len(upper)
    text = (world / "result" / "report.md").read_text()
    assert f"At {len(upper)} points the probabilities have no data" in text
    assert f"{', '.join(upper[:10])} and {len(upper) - 10} more." in text


@pytest.mark.parametrize(
    ("values", "nodata", "problem"),
    [
        ((1.5, -0.5, 0), None, r"lie outside \[0, 1\] at points 1 \(sum 1.000\), 2 "),
        ((np.nan, np.nan, np.nan), None, "are not numbers at points 1 "),
        ((np.nan, np.nan, np.nan), -1, "are not numbers at points 1 "),
        ((np.nan, 0.5, 0.5), np.nan, "are not numbers at points 1 "),
        ((np.inf, 0, 0), None, "are not numbers at points 1 "),
    ],
)
def test_values_that_are_no_probabilities_are_refused(world, values, nodata, problem, capsys):
    path = label(design(world, "--samples", 60), world / "truth.tif")
    levels = np.zeros((8, SIZE, SIZE), np.float32)
    levels[:3] = np.array(values)[:, None, None]
    raster = write(world / "probabilities.tif", levels, nodata=nodata)
    capsys.readouterr()
    assert estimate(world, path, "--probabilities", raster)[0] == 2
    assert re.search(f"probabilities.tif: class probabilities {problem}", capsys.readouterr().err)
    assert not (world / "result").exists()
