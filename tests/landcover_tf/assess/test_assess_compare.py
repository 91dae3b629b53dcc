"""`landcover assess compare`: agreement of two rasters."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from defusedxml import ElementTree
from fakes.assessed_map import CLASSES, GRID, SIZE, compare, make_world, read, run, write
from fakes.traced_memory import peak_bytes
from rasterio.crs import CRS
from rasterio.warp import Resampling, calculate_default_transform, reproject

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.scores import confusion_matrix
from landcover_tf.legend import IGNORED, load_legend
from landcover_tf.rasters.raster_grid import RasterGrid


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


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
    style = ElementTree.parse(world / "comparison" / "agreement.qml").getroot()
    entries = {e.get("value"): (e.get("label"), e.get("color")) for e in style.iter("paletteEntry")}
    assert entries["1"] == ("agreement", "#2e7d6e")
    assert list(entries) == ["1", "2", "3", "4"]
    text = (world / "comparison" / "report.md").read_text()
    assert "agreement with it, not accuracy" in text
    assert "16 squares of 300 m with seed 0." in text
    assert "16 squares are few" in text
    _, again = compare(world, world / "truth.tif")
    assert {k: v for k, v in again.items() if k != "config"} == values


def test_resamplings_without_a_class_are_left_out_and_told(world):
    """Water is in two of 16 squares, and the map misses a fifth of it."""
    truth = read(world / "truth.tif")
    truth[truth == 60] = 10
    truth[60:80, 60:80] = truth[0:20, 60:80] = 60
    mapped = truth.copy()
    mapped[60:64, 60:80] = mapped[0:4, 60:80] = 10
    write(world / "map.tif", mapped, tags={"legend": "landcover9"})
    write(world / "truth.tif", truth)
    code, values = compare(world, world / "truth.tif")
    assert code == 0
    water = next(c for c in values["classes"] if c["code"] == 60)
    dropped = water["producers_accuracy"]["dropped_fraction"]
    assert 0.05 < dropped < 0.2  # (14 / 16) ** 16 is 0.12.
    assert (
        values["mean_iou"]["dropped_fraction"] == values["mean_f1"]["dropped_fraction"] == dropped
    )
    assert values["overall_accuracy"]["dropped_fraction"] == 0
    # With all three classes: water has 0.8, the others at least 0.95 each.
    assert 0.9 < values["mean_iou"]["low"] <= values["mean_iou"]["high"] < 2.8 / 3
    text = (world / "comparison" / "report.md").read_text()
    share = f"{100 * dropped:.3g} %"
    assert f"left out of these intervals: {share} for mean IoU, mean F1, water bodies." in text


def test_a_class_in_one_square_has_no_interval_whatever_is_called_so_elsewhere(world):
    truth = read(world / "truth.tif")
    truth[truth == 60] = 10
    truth[60:80, 60:80] = 60
    mapped = truth.copy()
    mapped[60:64, 60:80] = 10
    mapped[5, 5] = 60  # In another square.
    write(world / "map.tif", mapped, tags={"legend": "landcover9"})
    write(world / "truth.tif", truth)
    code, values = compare(world, world / "truth.tif")
    assert code == 0
    water = next(c for c in values["classes"] if c["code"] == 60)
    none = {"low": None, "high": None, "blocks": 1, "dropped_fraction": 0}
    assert water["producers_accuracy"] == {"value": pytest.approx(0.8)} | none
    assert water["iou"] == {"value": pytest.approx(320 / 401)} | none
    assert water["f1"] == {"value": pytest.approx(640 / 721)} | none
    assert water["users_accuracy"]["blocks"] == 2
    assert values["overall_accuracy"]["blocks"] == 16
    text = (world / "comparison" / "report.md").read_text()
    assert (
        "no interval for producer's accuracy of water bodies; F1 of water bodies; IoU of water "
        "bodies: all their pixels of the reference (for user's accuracy, of the map) lie in one of "
        "the squares"
    ) in text


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


def test_a_map_is_no_reference_of_its_own(world, capsys):
    assert compare(world, world / "map.tif")[0] == 2
    assert "map.tif itself; give another" in capsys.readouterr().err
    # Nor in a folder, where only its tag tells that `predict` made it.
    (world / "truth.tif").unlink()
    assert compare(world, world)[0] == 2
    assert f"{world} is or holds {world / 'map.tif'} itself" in capsys.readouterr().err
    assert not (world / "comparison").exists()


def test_the_legend_of_the_reference_is_that_of_its_tags(world, capsys):
    truth = read(world / "truth.tif")
    foreign = np.zeros(256, np.uint8)
    foreign[[10, 20, 60]] = [40, 10, 80]
    _, expected = compare(world, world / "truth.tif")
    assert "reference of legend landcover9 (assumed: neither" in capsys.readouterr().out
    tagged = write(world / "tagged.tif", foreign[truth], tags={"legend": "worldcover"})
    code, values = compare(world, tagged)
    assert code == 0
    assert values["confusion_counts"] == expected["confusion_counts"]
    text = (world / "comparison" / "report.md").read_text()
    assert "The map is of legend landcover9, the reference of legend worldcover." in text
    assert compare(world, tagged, "--reference-legend", "worldcover") == (0, values)
    assert compare(world, tagged, "--reference-legend", "landcover9")[0] == 2
    assert "has a tag for legend worldcover, --reference-legend says" in capsys.readouterr().err
    # Each half of a folder may have one legend only.
    (world / "folder").mkdir()
    write(world / "folder" / "a.tif", foreign[truth], tags={"legend": "worldcover"})
    write(world / "folder" / "b.tif", truth, tags={"legend": "landcover9"})
    assert compare(world, world / "folder")[0] == 2
    assert "rasters of one legend are expected" in capsys.readouterr().err


def test_a_list_of_classes_in_the_tags_is_no_name_of_a_legend(world, capsys):
    """The tag `legend` of real ESA WorldCover files lists their classes."""
    esa = {"legend": "10  Tree cover\n20  Shrubland\n30  Grassland\n40  Cropland"}
    tagged = write(world / "esa.tif", read(world / "truth.tif"), tags=esa)
    assert compare(world, tagged)[0] == 2
    message = "'10 Tree cover 20 Shrubland 30 Grassland ...', names none of"
    assert message in (error := capsys.readouterr().err)
    assert error.endswith("name its legend with --reference-legend\n")
    assert compare(world, tagged, "--reference-legend", "worldcover")[0] == 0
    write(world / "map.tif", read(world / "map.tif"), tags=esa)
    assert compare(world, world / "truth.tif")[0] == 2
    assert "name its legend with --legend\n" in capsys.readouterr().err
    assert compare(world, world / "truth.tif", "--legend", "landcover9")[0] == 0
    write(world / "map.tif", read(world / "map.tif"))
    assert compare(world, world / "truth.tif")[0] == 0
    assert "of legend landcover9 (assumed: the map's tags" in capsys.readouterr().out


def test_bad_references_of_a_comparison(world, capsys):
    strange = read(world / "truth.tif").copy()
    strange[3, 60:64] = 77
    write(world / "strange.tif", strange)
    finer = np.kron(strange, np.ones((2, 2), np.uint8))
    write(world / "finer.tif", finer, grid=rasterio.Affine(5, 0, 500_000, 0, -5, 4_400_000))
    write(world / "far.tif", strange, grid=rasterio.Affine(10, 0, 700_000, 0, -10, 4_400_000))
    write(world / "empty.tif", np.zeros_like(strange))
    write(world / "colours.tif", np.stack([strange] * 3))
    write(world / "parts.tif", np.full(strange.shape, 0.5, np.float32))
    (world / "text.tif").write_text("no raster")
    for name, message in (
        ("strange.tif", "does not know: 77 (4 px); name the right --reference-legend"),
        ("finer.tif", "does not know: 77 (16 px); name the right --reference-legend"),
        ("far.tif", "does not overlap the map"),
        ("empty.tif", "no pixel with a class in both"),
        ("text.tif", "cannot read the raster"),
        ("absent.tif", "does not exist"),
        ("colours.tif", "has 3 bands; expected one with a code per pixel"),
        ("parts.tif", "holds 0.5 at rows 0 to 120; class codes are whole numbers"),
    ):
        assert compare(world, world / name)[0] == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (world / "comparison").exists()
    assert compare(world, world / "truth.tif", "--block-size-m", 10)[0] == 2
    assert "into 14,400 squares, more than the 10,000" in capsys.readouterr().err


def test_small_squares_are_refused_before_the_map_is_counted(world, capsys):
    codes = read(world / "map.tif")
    codes[50, 50] = 77
    write(world / "map.tif", codes)
    assert compare(world, world / "truth.tif")[0] == 2
    assert "has codes that legend landcover9 does not know" in capsys.readouterr().err
    assert compare(world, world / "truth.tif", "--block-size-m", 10)[0] == 2
    assert "into 14,400 squares, more than the 10,000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("width", "rows", "most"),
    [(100_000, 512, 128), (10_980, 512, 512), (100_000, 7, 7), (2**25, 512, 1)],
)
def test_strips_of_wide_maps_have_fewer_rows(width, rows, most):
    wide = ClassMap(
        path=Path("wide.tif"), legend=load_legend("landcover9"), legend_source="landcover9",
        grid=RasterGrid(height=1000, width=width, crs=None, transform=GRID),
    )  # fmt: skip
    strips = list(wide.strips(rows))
    # 2^24 pixels are 167 rows of 100,000; 128 go into blocks of 512.
    assert [strip.row_off for strip in strips] == list(range(0, 1000, most))
    assert sum(strip.height for strip in strips) == 1000
    assert {(strip.col_off, strip.width) for strip in strips} == {(0, width)}


@pytest.mark.parametrize("rows", [1, 7, 60, 500])
def test_unknown_codes_count_once_whatever_the_strips(world, rows):
    strange = read(world / "truth.tif").copy()
    strange[40:70, 60:64] = 77
    write(world / "strange.tif", strange)
    flags = ["--unknown-labels", "ignore", "--rows-per-strip", rows]
    code, values = compare(world, world / "strange.tif", *flags)
    assert code == 0
    assert values["unknown_reference_codes"] == {"77": 120}
    assert values["pixels"]["without_reference_class"] == 120
    text = (world / "comparison" / "report.md").read_text()
    assert "Reference codes 77 (120 px) have no class in the legend" in text
    # Pixels of 8 m on borders that no 10 m row has.
    grid = rasterio.Affine(8, 0, 500_003, 0, -8, 4_399_997)
    fine = np.full((140, 140), 10, np.uint8)
    fine[20:120, 30:33] = 77
    write(world / "strange.tif", fine, grid=grid)
    code, values = compare(world, world / "strange.tif", *flags)
    assert code == 0
    assert values["unknown_reference_codes"] == {"77": 300}


@pytest.mark.parametrize("pixel_m", [10, 8])
def test_more_rows_take_the_same_memory(tmp_path, pixel_m):
    width, short, tall = 256, 320, 2560
    rng = np.random.default_rng(1)
    grid = rasterio.Affine(pixel_m, 0, 500_000, 0, -pixel_m, 4_400_000)

    def command(name, height):
        folder = tmp_path / name
        folder.mkdir()
        codes = np.kron(rng.choice(CLASSES, (height // 8, width // 8)), np.ones((8, 8), np.uint8))
        truth = np.where(rng.random(codes.shape) < 0.2, rng.choice(CLASSES, codes.shape), codes)
        write(folder / "map.tif", codes)
        write(folder / "truth.tif", truth.astype(np.uint8), grid=grid)
        rasters = ("--map", folder / "map.tif", "--reference-map", folder / "truth.tif")
        flags = ("--output-dir", folder / "out", "--rows-per-strip", 64, "--bootstrap-samples", 50)
        return partial(run, "compare", *rasters, *flags)

    assert command("first", 64)() == 0  # Modules are loaded.
    peaks = [peak_bytes(command(str(height), height)) for height in (short, tall)]
    assert (tmp_path / str(tall) / "out" / "compare.json").exists()
    # One of the rasters, held whole, would be a byte for each further pixel.
    assert peaks[1] - peaks[0] < 0.75 * (tall - short) * width
