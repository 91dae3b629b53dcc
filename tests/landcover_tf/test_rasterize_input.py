"""What `rasterize` takes for a class, and the input that it refuses in a sentence."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.polygon_files import RING, SQUARE, TRIANGLE, UTM, run_rasterize, write_polygons
from rasterio.transform import from_origin

from landcover_tf import rasterize
from landcover_tf.errors import LabelError
from landcover_tf.sentinel2.label_rasters import find_label_rasters

pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")


def test_a_class_table_and_codes_of_other_legends(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "Mais"), (RING, "Wald")])
    table = tmp_path / "classes.csv"
    table.write_text("value;code\nmais;10\nWald;20\n")
    assert run_rasterize(path, "--class-table", table)[0] == 0
    with rasterio.open(path.with_suffix(".tif")) as raster:
        assert set(np.unique(raster.read(1))) == {0, 10, 20}
    assert "10 agricultural areas" in capsys.readouterr().out
    corine = write_polygons(tmp_path / "corine.gpkg", [(SQUARE, "311")])
    assert run_rasterize(corine, "--legend", "corine")[0] == 0
    with rasterio.open(corine.with_suffix(".tif")) as raster:
        assert raster.dtypes == ("uint16",) and raster.read(1).max() == 311


@pytest.mark.parametrize(
    ("value", "word"),
    [("10.0", "10"), ("A\u0308cker", "\u00e4cker"), ("\u00c4cker", "A\u0308cker"), (10.0, "10.0")],
    ids=["float in a text", "two characters", "one character", "float"],
)
def test_values_and_words_of_the_table_meet_however_they_are_written(tmp_path, value, word):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, value)])
    table = tmp_path / "table.csv"
    table.write_text(f"value,code\n{word},60.0\n", encoding="utf-8")
    code, output = run_rasterize(path, "--class-table", table)
    assert code == 0
    with rasterio.open(output) as raster:
        assert set(np.unique(raster.read(1))) == {60}


@pytest.mark.parametrize("value", ["\u00b2", "--5", "1.5", "9" * 5000])
def test_what_only_looks_like_a_number_is_a_word(tmp_path, capsys, value):
    assert run_rasterize(write_polygons(tmp_path / "a.gpkg", [(SQUARE, value)]))[0] == 2
    assert f"no class of legend landcover9: {value!r} (1)" in capsys.readouterr().err


def test_a_class_table_takes_codes_of_level_three_and_tells_how_to_save_it(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "Wald")])
    table = tmp_path / "table.csv"
    table.write_text("value,code\nWald,311\n")
    code, output = run_rasterize(path, "--class-table", table, "--legend", "corine")
    assert code == 0
    with rasterio.open(output) as raster:
        assert raster.read(1).max() == 311
    assert run_rasterize(path, "--class-table", table, "--overwrite")[0] == 2
    assert "codes that legend landcover9 does not know: [311]" in capsys.readouterr().err
    table.write_bytes("value;code\n\u00c4cker;10\n".encode("cp1252"))
    assert run_rasterize(path, "--class-table", table, "--overwrite")[0] == 2
    assert "table.csv is not a table in UTF-8 (" in (told := capsys.readouterr().err)
    assert "save it as CSV UTF-8" in told


def test_the_next_command_keeps_the_classes_of_an_own_legend(tmp_path, capsys):
    own = tmp_path / "own legend.toml"
    classes = (
        f'{{code = {code}, name = "{name}", color = "#e6c229"}}'
        for code, name in ((1, "maize"), (2, "wheat"))
    )
    own.write_text(
        f'name = "own"\nclasses = [{", ".join(classes)}]\n'
        "[crosswalks.landcover9]\n1 = 10\n2 = 10\n300 = 20\n"
    )
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "Maize"), (RING, "wheat")])
    assert run_rasterize(path, "--legend", own)[0] == 0
    told = capsys.readouterr().out
    assert f"--source-legend '{own}' --legend '{own}'`\n" in told
    # 300 is none of its classes: it can only become one of another legend.
    assert (
        run_rasterize(write_polygons(tmp_path / "b.gpkg", [(SQUARE, 300)]), "--legend", own)[0] == 0
    )
    assert capsys.readouterr().out.endswith(f"--source-legend '{own}'`\n")


def test_values_that_are_no_class_are_refused_or_left_out(tmp_path, capsys):
    path = write_polygons(
        tmp_path / "a.gpkg", [(SQUARE, "forests"), (RING, "moon"), (TRIANGLE, "moon")]
    )
    code, output = run_rasterize(path)
    assert code == 2 and not output.exists()
    assert "no class of legend landcover9: 'moon' (2)" in capsys.readouterr().err
    assert run_rasterize(path, "--unknown-labels", "ignore")[0] == 0
    with rasterio.open(output) as raster:
        assert set(np.unique(raster.read(1))) == {0, 20}
    assert run_rasterize(path, "--unknown-labels", "ignore")[0] == 2
    assert "exists already" in capsys.readouterr().err


def test_a_polygon_without_a_value_is_left_out_where_a_class_is_called_none(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "forests"), (RING, None), (TRIANGLE, "")])
    table = tmp_path / "table.csv"
    table.write_text("value,code\nforests,20\nnone,60\n")
    code, output = run_rasterize(path, "--class-table", table)
    assert code == 0
    with rasterio.open(output) as raster:
        assert set(np.unique(raster.read(1))) == {0, 20}
    told = capsys.readouterr()
    assert "left out: 2 without a value of class\n1 of 3 polygons" in told.out
    assert f"warning: 2 of 3 polygons of {path} have no value of class" in told.err
    named = write_polygons(tmp_path / "b.gpkg", [(SQUARE, "None"), (RING, None)])
    code, output = run_rasterize(named, "--class-table", table)
    assert code == 0
    with rasterio.open(output) as raster:
        # 100 x 200 pixels of 5 m; the ring, on the upper right, has none.
        assert np.count_nonzero(raster.read(1) == 60) == 20_000


def two_layers(path: Path) -> Path:
    """Writes a GeoPackage with a layer of its own name and the layer `two`."""
    write_polygons(path, [(SQUARE, 20)], layer="one")
    return write_polygons(path, [(RING, 60)], layer="two")


def test_the_only_layer_of_polygons_is_taken_beside_saved_styles_and_points(tmp_path):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "forests")], layer="fields")
    styles = {"fields": ["styleName"], "geometry_type": None, "layer": "layer_styles"}
    name = [np.array(["red"], object)]
    pyogrio.raw.write(path, None, name, driver="GPKG", append=True, **styles)
    kinds = dict(pyogrio.list_layers(path))
    assert kinds == {"fields": "Polygon", "layer_styles": None}
    assert run_rasterize(path)[0] == 0
    write_polygons(path, [(SQUARE.centroid, "forests")], kind="Point", layer="plots")
    code, output = run_rasterize(path, "--overwrite")
    assert code == 0
    with rasterio.open(output) as raster:
        assert set(np.unique(raster.read(1))) == {20}


def text(path: Path) -> Path:
    """Writes a text in the place of a GeoPackage."""
    path.write_text("no vectors")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: write_polygons(path, [(SQUARE, "forests")], crs=None), "has no CRS"),
        (
            lambda path: write_polygons(path, [(SQUARE.boundary, "forests")], kind="LineString"),
            "holds a LineString",
        ),
        (two_layers, "has the layers one, two; name one by --layer"),
        (text, "cannot be read as a vector file"),
        (lambda path: write_polygons(path, [(None, "forests")]), "has no feature with a geometry"),
    ],
    ids=["no CRS", "lines", "two layers", "text", "empty"],
)
def test_files_that_are_no_layer_of_polygons_are_told_in_a_sentence(
    tmp_path, capsys, make, message
):
    code, output = run_rasterize(make(tmp_path / "a.gpkg"))
    told = capsys.readouterr().err
    assert code == 2 and message in told and "a.gpkg" in told
    assert not output.exists()


def square(west: float, south: float, side: float = 0.1):
    return shapely.box(west, south, west + side, south + side)


@pytest.mark.parametrize(
    ("box", "flags"),
    [(SQUARE, ()), (SQUARE, ("--crs", UTM)), (square(20, 80, 10.5), ("--pixel-size", 1000))],
    ids=["metres", "metres and --crs", "beyond the pole"],
)
def test_coordinates_that_the_crs_does_not_have_are_told(tmp_path, capsys, box, flags):
    # GeoJSON without a member `crs` is in degrees.
    path = write_polygons(tmp_path / "a.geojson", [(box, 20)], crs="EPSG:4326", driver="GeoJSON")
    code, output = run_rasterize(path, *flags)
    told = capsys.readouterr().err
    assert code == 2 and "a.geojson" in told and "do not fit its CRS EPSG:4326; give it the" in told
    assert not output.exists()


def test_polygons_that_no_pixel_meets_write_nothing(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, 20)])
    like = tmp_path / "like.tif"
    with rasterio.open(
        like, "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8", crs=UTM,
        transform=from_origin(0, 0, 10, 10),
    ):  # fmt: skip
        pass
    code, output = run_rasterize(path, "--like", like)
    assert code == 2 and not output.exists()
    assert "no pixel's centre lies in a polygon of" in capsys.readouterr().err


def test_no_utm_zone_is_chosen_for_polygons_of_many(tmp_path, capsys):
    far = [(square(15, 50), 10), (square(-100, 40), 10)]
    path = write_polygons(tmp_path / "a.gpkg", far, crs="EPSG:4326")
    code, output = run_rasterize(path)
    assert code == 2 and not output.exists()
    assert "lie between -100 and 15 degrees of longitude" in capsys.readouterr().err
    near = write_polygons(
        tmp_path / "b.gpkg", [(square(15, 50), 10), (square(0, 40), 10)], crs="EPSG:4326"
    )
    assert run_rasterize(near, "--pixel-size", 5000)[0] == 0


@pytest.mark.parametrize(
    ("features", "crs", "flags", "extent"),
    [
        # One of them lies at the origin, 4,199 km from the others.
        (
            [(SQUARE, 20), (shapely.box(0, 0, 9, 9), 20)],
            UTM,
            (),
            "0, 0 to 600500, 4200000 in EPSG:32634, 840,000 x 120,100 pixels of 5",
        ),
        (
            [(square(179.8, -17), 20), (square(-179.9, -17), 20)],
            "EPSG:4326",
            ("--crs", "EPSG:32760", "--pixel-size", 10),
            "pixels of 10",
        ),
        ([(SQUARE, 20)], UTM, ("--pixel-size", 0.001), "pixels of 0.001"),
    ],
    ids=["out of place", "antimeridian", "tiny pixels"],
)
def test_no_endless_raster_is_begun(tmp_path, capsys, features, crs, flags, extent):
    path = write_polygons(tmp_path / "a.gpkg", features, crs=crs)
    code, _ = run_rasterize(path, *flags)
    told = capsys.readouterr().err
    assert code == 2 and "a.gpkg reach from" in told and extent in told
    assert "68,719,476,736 are the most; remove" in told and "or --like where" in told
    assert [file.name for file in tmp_path.iterdir()] == ["a.gpkg"]


def test_what_is_read_is_never_written_over(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, 20)])
    _, like = run_rasterize(path)
    table = tmp_path / "table.csv"
    table.write_text("value,code\n20,10\n")
    (tmp_path / "link.tif").symlink_to(path)
    for output, flags, named in (
        (path, (), "polygons"),
        (tmp_path / "link.tif", (), "polygons"),
        (like, ("--like", like), "like"),
        (table, ("--class-table", table), "class-table"),
    ):
        before = output.read_bytes()
        assert run_rasterize(path, "--output-raster", output, "--overwrite", *flags)[0] == 2
        assert f"would replace --{named}; choose another" in capsys.readouterr().err
        assert output.read_bytes() == before


def test_an_attribute_that_is_not_there_names_those_that_are(tmp_path, capsys):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "forests")])
    output = tmp_path / "a.tif"
    arguments = ["--polygons", path, "--attribute", "klass", "--output-raster", output]
    assert rasterize.main([str(a) for a in arguments]) == 2
    assert "has no attribute 'klass'; it has class" in capsys.readouterr().err


def test_a_vector_file_in_the_place_of_a_raster_names_the_program(tmp_path):
    path = write_polygons(tmp_path / "a.gpkg", [(SQUARE, "forests")])
    with pytest.raises(LabelError, match=r"a\.gpkg: it is a vector file; .landcover rasterize"):
        find_label_rasters(path)
