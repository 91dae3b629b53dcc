"""Labelled points of an assessment, as QGIS, spreadsheets and people leave them."""

import csv
import re

import numpy as np
import pytest
from fakes.assessed_map import (
    change,
    design,
    estimate,
    label,
    make_world,
)
from rasterio.warp import transform

from landcover_tf.legend import load_legend
from landcover_tf.vectors.geopackage import point_blob, read_points


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


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
        ("UPDATE points SET stratum = 20 WHERE stratum = 10", "have another stratum than the one"),
        ("UPDATE points SET geom = 7 WHERE id = 7", "whose geometry is none"),
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
    # Rows that look empty in the spreadsheet are no points that nobody could label.
    (folder / "points.csv").write_text("\n".join([*lines, ";;;;", " ; ;;;"]))
    assert estimate(world, folder / "points.csv")[1]["points"]["given"] == 300
    (folder / "points.csv").write_text("\n".join([lines[0] + ";Größe"]), encoding="cp1252")
    assert estimate(world, folder / "points.csv")[0] == 2
    assert "is not a table in UTF-8" in capsys.readouterr().err
    lines[3] += ";10;20"
    lines[7] = lines[7].rsplit(";", 1)[0]
    lines.insert(5, ";;;;")
    (folder / "points.csv").write_text("\n".join(lines))
    assert estimate(world, folder / "points.csv")[0] == 2
    assert "points.csv: lines 4, 9 have not as many cells" in capsys.readouterr().err


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
    assert "point 2 has stratum 'dark wood'" in capsys.readouterr().err
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
        "id,lon,lat,reference\na,21,95,10\nb,inf,39.7,10\nc,21.005,39.745,10\n"
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


def test_cells_that_programs_write_for_nothing_are_empty(world, capsys):
    """pandas writes nan, R writes NA; a class name may be in any letters."""
    table = "ID,X,Y,Reference\n" + "".join(
        f"p{number},{x},4399745,{text}\n"
        for number, (x, text) in enumerate(
            [("", 10), ("NA", 10), (500455, "NA"), (500465, "nan"), (500475, "Forests"),
             (500485, "WATER bodies"), (500495, "null")]
        )
    )  # fmt: skip
    path = world / "points.csv"
    path.write_text(table)
    code, values = estimate(world, path, "--not-a-probability-sample")
    assert code == 0
    assert values["points"]["excluded"] == {
        "without a position": ["p0", "p1"],
        "without a reference class": ["p2", "p3", "p6"],
    }
    matrix = np.array(values["confusion_counts"])
    assert matrix.sum(axis=0)[[1, 5]].tolist() == [1, 1]
    path.write_text(table.replace("500455", "here"))
    assert estimate(world, path, "--not-a-probability-sample")[0] == 2
    assert "points.csv, line 4, has X 'here', which is not a" in capsys.readouterr().err
    # Points without ids have those of their lines, also below a row without any value.
    path.write_text(table.replace("ID,", "name,").replace("p2", ",,,\np2"))
    _, values = estimate(world, path, "--not-a-probability-sample")
    assert values["points"]["excluded"] == {
        "without a position": ["2", "3"],
        "without a reference class": ["5", "6", "9"],
    }


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
