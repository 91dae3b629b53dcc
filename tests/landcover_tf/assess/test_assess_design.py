"""`landcover assess design`: from a map to points to label."""

import csv
import json
import shlex

import numpy as np
import pytest
import rasterio
from defusedxml import ElementTree
from fakes.assessed_map import GRID, SIZE, design, estimate, label, make_world, read, run, write
from matplotlib.image import imread
from rasterio.crs import CRS
from rasterio.warp import transform

from landcover_tf.legend import load_legend
from landcover_tf.vectors.geopackage import read_points


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


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
    assert [500_005 + 10 * col for col in record["drawn"]["col"]] == points.x
    assert [4_399_995 - 10 * row for row in record["drawn"]["row"]] == points.y
    assert record["drawn"]["stratum"] == found


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
    # Without the folder of the layer's file as root, QGIS shows no picture in a new project.
    options = {o.get("name"): o.get("value") for o in fields["picture"].iter("Option")}
    assert options["RelativeStorage"] == "2"
    assert options["expression"] == "file_path(layer_property(@layer, 'path'))"


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
    picture = imread(folder / named[0]["picture"])
    assert picture.shape[0] == picture.shape[1] >= 320


@pytest.mark.parametrize(
    ("pixel_m", "offset_m", "side_m"),
    # The last one's outline would be three screen pixels wide: it is enlarged to 7.
    [(10, 0, 160), (2, 0, 160), (30, 5, 300), (10, 3, 160), (10, 0, 3200)],
)
def test_the_outline_is_that_of_the_maps_pixel(world, pixel_m, offset_m, side_m):
    size = 1200 // pixel_m
    grid = rasterio.Affine(pixel_m, 0, 500_000 - offset_m, 0, -pixel_m, 4_400_000 + offset_m)
    grey = np.random.default_rng(0).integers(50, 200, (size, size)).astype(np.uint8)
    write(world / "image.tif", np.stack([grey] * 3), grid=grid, names=("red", "green", "blue"))
    folder = design(world, "--samples", 60, "--min-per-class", 5, "--image", world / "image.tif",
                    "--picture-m", side_m)  # fmt: skip
    points = read_points(folder / "points.gpkg")
    seen = [(r["picture"], x, y) for r, x, y in zip(points.rows, points.x, points.y, strict=True)]
    name, x = next(s[:2] for s in seen if abs(s[1] - 500_600) < 200 and abs(s[2] - 4_399_500) < 200)
    picture = np.rint(imread(folder / name)[..., :3] * 255)
    rows, cols = np.nonzero((picture == (255, 0, 160)).all(axis=-1))
    # Metres of a screen pixel: the picture shows whole pixels of the image around its middle.
    across = 2 * max(round(side_m / pixel_m / 2), 4) + 1
    screen_m = across * pixel_m / len(picture)
    left = np.floor((x - 500_000 + offset_m) / pixel_m) * pixel_m + 500_000 - offset_m
    left -= (across - 1) / 2 * pixel_m
    expected = max(10, 5 * screen_m)
    line = max(round(len(picture) / 400), 1)
    inner_left = left + (cols.min() + line) * screen_m
    inner_right = left + (cols.max() + 1 - line) * screen_m
    assert inner_left == pytest.approx(x - expected / 2, abs=screen_m)
    assert inner_right == pytest.approx(x + expected / 2, abs=screen_m)
    assert rows.max() - rows.min() == cols.max() - cols.min()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("nodata", [np.nan, None])
def test_pictures_of_reflectance_with_gaps_show_the_rest(world, nodata):
    image = np.linspace(0.05, 0.3, 3 * SIZE * SIZE, dtype=np.float32).reshape(3, SIZE, SIZE)
    image[:, :, 110:] = np.nan
    image[1, :, 105:110] = np.inf
    write(world / "image.tif", image, names=("red", "green", "blue"), nodata=nodata)
    folder = design(world, "--samples", 150, "--image", world / "image.tif", "--picture-m", 160)
    points = read_points(folder / "points.gpkg")
    without = [row["picture"] is None for row in points.rows]
    assert without == [(x - 500_000) // 10 >= 105 for x in points.x]
    for row, x in zip(points.rows, points.x, strict=True):
        if row["picture"] and x < 501_000:
            picture = imread(folder / row["picture"])
            centre = picture[len(picture) // 2, len(picture) // 2, :3]
            assert centre.max() > 0.05, row["picture"]


def test_pictures_of_an_image_in_degrees_have_the_wanted_side(world):
    """0.0001 degrees of latitude are 11.1 m, so 640 m are 58 rows: a radius of 29 and the pixel."""
    lon, lat = transform("EPSG:32634", "EPSG:4326", [500_000], [4_400_000])
    grid = rasterio.Affine(1e-4, 0, lon[0] - 0.01, 0, -1e-4, lat[0] + 0.01)
    image = np.random.default_rng(0).integers(500, 4000, (3, 350, 400)).astype(np.uint16)
    path = write(world / "image.tif", image, crs="EPSG:4326", grid=grid,
                 names=("red", "green", "blue"))  # fmt: skip
    folder = design(world, "--samples", 150, "--image", path)
    pictures = sorted((folder / "pictures").iterdir())
    assert len(pictures) == 150
    side = imread(pictures[0]).shape[0]
    assert side % (2 * 29 + 1) == 0


def test_an_image_of_another_place_is_refused(world, capsys):
    image = np.full((3, 9, 9), 900, np.uint16)
    write(world / "far.tif", image, grid=rasterio.Affine(10, 0, 0, 0, -10, 0))
    arguments = ["--map", world / "map.tif", "--output-dir", world / "s", "--samples", 150]
    assert run("design", *arguments, "--image", world / "far.tif") == 2
    assert "shows none of the points" in capsys.readouterr().err
    assert not (world / "s").exists()


def test_more_points_than_wanted_are_explained(world, capsys):
    design(world, "--samples", 60)
    assert "more than --samples 60, for --min-per-class 50" in capsys.readouterr().out


def test_an_error_that_all_pixels_exceed_is_told(world, capsys):
    design(world, "--target-se", 0.001)
    assert "--target-se 0.001 is out of reach" in capsys.readouterr().out


def test_an_existing_folder_is_never_overwritten(world, capsys):
    folder = design(world, "--samples", 150)
    label(folder, world / "truth.tif")
    assert run("design", "--map", world / "map.tif", "--output-dir", folder) == 2
    assert "exists already" in capsys.readouterr().err
    assert read_points(folder / "points.gpkg").rows[0]["reference"] is not None


def test_flags_that_make_no_sense(world, capsys):
    base = ["--map", world / "map.tif"]
    for arguments, message in (
        (["design", *base, "--output-dir", world / "s", "--target-se", 0], "--target-se"),
        (["design", *base, "--output-dir", world / "s", "--min-per-class", 1], "--min-per-class"),
        (["design", *base, "--output-dir", world / "s", "--seed", -1], "--seed"),
        (["compare", *base, "--reference-map", "x.tif", "--block-size-m", 0], "--block-size-m"),
        (["compare", *base, "--reference-map", "x.tif", "--seed", -1], "--seed must not be"),
        (["estimate", *base, "--reference", "x.gpkg", "--confidence-level", 1],
         "--confidence-level must be in"),
        (["estimate", *base, "--reference", "x.gpkg", "--design", "d.json",
          "--not-a-probability-sample"], "excludes --design"),
        (["estimate", *base, "--reference", "x.gpkg", "--leave-out-strata", 10,
          "--not-a-probability-sample"], "excludes --leave-out-strata"),
        (["estimate", *base, "--reference", "x.gpkg", "--design", "d.json", "--strata-map",
          "m.tif"], "not from both"),
        (["estimate", *base, "--reference", "x.gpkg", "--strata-legend", "corine"], "not given"),
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


def test_an_estimate_reads_the_map_in_the_legend_of_its_design(world, capsys):
    write(world / "map.tif", read(world / "map.tif"))  # Without the tag.
    folder = design(world, "--samples", 150, "--legend", "worldcover")
    *_, last = capsys.readouterr().out.splitlines()
    assert shlex.split(last)[-2:] == ["--legend", "worldcover"]
    points = label(folder, world / "truth.tif")
    code, values = estimate(world, points)
    assert code == 0
    assert [c["name"] for c in values["classes"]][:2] == ["tree cover", "shrubland"]
    assert not values["legend_assumed"]
    assert estimate(world, points, "--legend", "worldcover") == (0, values)
    assert estimate(world, points, "--legend", "landcover9")[0] == 2
    error = capsys.readouterr().err
    assert "in legend worldcover, --legend says landcover9; drop the flag" in error
    own = ("--legend", "landcover9", "--strata-map", world / "map.tif")
    assert estimate(world, points, *own)[0] == 0


def test_a_legend_of_ones_own_is_named_again_at_the_estimate(world, capsys):
    write(world / "map.tif", read(world / "map.tif"))
    path = world / "mine.toml"
    classes = "".join(
        f'[[classes]]\ncode = {code}\nname = "{name}"\ncolor = "#0000ff"\n'
        for code, name in ((10, "fields"), (20, "woods"), (60, "lakes"))
    )
    path.write_text(f'name = "mine"\n{classes}')
    points = label(design(world, "--samples", 150, "--legend", path), world / "truth.tif")
    assert estimate(world, points)[0] == 2
    assert "in legend mine, which does not ship" in capsys.readouterr().err
    code, values = estimate(world, points, "--legend", path)
    assert code == 0
    assert [c["name"] for c in values["classes"]] == ["fields", "woods", "lakes"]
