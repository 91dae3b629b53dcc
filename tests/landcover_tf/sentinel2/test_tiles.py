"""Corners and outlines of MGRS tiles against real metadata and known places."""

import pytest
from rasterio.warp import transform

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.tiles import TILE_PX, parse_tile


@pytest.mark.parametrize(
    ("name", "epsg", "ulx", "uly"),
    [
        # Geoposition in MTD_TL.xml of real products.
        ("32TNM", 32632, 499980, 4700040),
        ("T46RER", 32646, 499980, 3100020),
        # The 100 km square from 500 to 600 km east, 4200 to 4300 km north, rounded outwards.
        ("34seh", 32634, 499980, 4300020),
        # Corners of real products south of the equator: 60 m are counted from 10 000 000.
        ("01LAC", 32701, 99960, 8300020),
        ("01CCV", 32701, 300000, 2000020),
        ("51KXR", 32751, 600000, 7600000),
        ("53HMA", 32753, 399960, 6100000),
    ],
)
def test_corner_of_known_tiles(name, epsg, ulx, uly):
    tile = parse_tile(name)
    assert (tile.epsg, tile.ulx, tile.uly) == (epsg, ulx, uly)


@pytest.mark.parametrize(
    ("name", "place", "latitude", "longitude"),
    [
        # Published MGRS references: 18SUJ2339407396, 18TWL8073504695, 56HLH3487352266.
        ("18SUJ", "White House", 38.8977, -77.0366),
        ("18TWL", "Statue of Liberty", 40.6892, -74.0445),
        ("56HLH", "Sydney Opera House", -33.8568, 151.2153),
        ("31UDQ", "Eiffel Tower", 48.8584, 2.2945),
        ("34SGH", "Acropolis", 37.9715, 23.7267),
    ],
)
def test_tile_holds_known_place(name, place, latitude, longitude):
    west, south, east, north = parse_tile(name).bounds_degrees
    assert west < longitude < east, place
    assert south < latitude < north, place


def test_the_outline_is_cut_at_the_antimeridian():
    west, south, east, north = parse_tile("34SEH").bounds_degrees
    outline = parse_tile("34SEH").outline_degrees
    assert outline["type"] == "Polygon"
    assert outline["coordinates"][0][:3] == [[west, south], [east, south], [east, north]]
    # Tile 01KAB lies from 179.24 E to 179.72 W, 17.25 to 16.25 S.
    outline = parse_tile("01KAB").outline_degrees
    assert outline["type"] == "MultiPolygon"
    longitudes = [sorted({x for x, _ in ring}) for [ring] in outline["coordinates"]]
    assert longitudes[0] == [pytest.approx(179.24, abs=0.01), 180.0]
    assert longitudes[1] == [-180.0, pytest.approx(-179.72, abs=0.01)]


@pytest.mark.parametrize("name", ["34SEH", "01KAB", "60CWS"])
def test_the_covered_share_is_that_of_the_square(name):
    tile = parse_tile(name)
    side = 10 * TILE_PX
    # Clockwise from the upper left, and a triangle of half the square.
    xs = [tile.ulx, tile.ulx + side, tile.ulx + side, tile.ulx]
    ys = [tile.uly, tile.uly, tile.uly - side, tile.uly - side]
    corners = [*zip(*transform(tile.crs, "EPSG:4326", xs, ys), strict=True)]
    for ring, share in ((corners, 1), (corners[:3], 0.5)):
        outline = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        assert tile.covered_fraction(outline) == pytest.approx(share, abs=0.01)
    assert tile.covered_fraction(tile.outline_degrees) == 1


@pytest.mark.parametrize(
    "footprint",
    [
        {},
        {"type": "Point", "coordinates": [21, 38]},
        {"type": "Polygon", "coordinates": [[[21, 91], [22, 91], [22, 99], [21, 91]]]},
    ],
)
def test_the_covered_share_of_what_is_no_footprint_is_unknown(footprint):
    assert parse_tile("34SEH").covered_fraction(footprint) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("34IEH", "MGRS tile"),
        ("SEH", "MGRS tile"),
        ("34SZH", "no 100 km column Z"),
        ("61SEH", "no 100 km column"),
        # Row R of zone 34 begins at 1000 or 3000 km north, band S at 3540 km.
        ("34SER", "does not lie in latitude band S"),
    ],
)
def test_refuses_squares_that_do_not_exist(name, message):
    with pytest.raises(ProductError, match=message):
        parse_tile(name)
