"""Outlines of rasters on the globe, whatever their projection cuts or turns."""

import math

import pytest
from rasterio.crs import CRS
from rasterio.warp import transform
from shapely.geometry import Point, Polygon, shape

from serving.footprint import footprint

Bounds = tuple[float, float, float, float]
UTM_1: Bounds = (99_960, 7_990_200, 209_760, 8_100_000)
UTM_60: Bounds = (759_960, 7_990_200, 869_760, 8_100_000)
ACROSS: Bounds = (-500_000, 390_200, -390_200, 500_000)
"""Of EPSG:3413, whose antimeridian runs where y = -x."""


@pytest.mark.parametrize(
    ("crs", "bounds", "parts"),
    [
        ("EPSG:32634", (600_000, 4_100_000, 709_800, 4_209_800), 1),
        ("EPSG:32634", (600_000, 4_209_800, 709_800, 4_100_000), 1),  # South is up.
        ("EPSG:32701", UTM_1, 2),
        ("EPSG:32760", UTM_60, 2),
        ("EPSG:3413", ACROSS, 2),
        ("EPSG:3413", (0, -600_000, 110_000, -490_000), 1),
        ("EPSG:3031", (-50_000, -710_000, 60_000, -600_000), 2),
        ("EPSG:4326", (170, -5, 190, 5), 2),
        ("EPSG:4326", (-185, -5, -175, 5), 2),
        ("EPSG:4326", (190, -5, 200, 5), 1),
        ("EPSG:4326", (170, -5, 180, 5), 1),
        ("EPSG:4326", (180, -5, 190, 5), 1),
        ("EPSG:4326", (-180, -90, 180, 90), 1),
        ("EPSG:3857", (-20_037_508.34, -20_037_508, 20_037_508.34, 20_037_508), 1),
    ],
)
def test_the_outline_holds_the_pixels_and_turns_left(crs: str, bounds: Bounds, parts: int) -> None:
    geometry, (west, south, east, north) = footprint(CRS.from_string(crs), bounds)
    outline = shape(geometry)
    assert outline.is_valid
    polygons = list(getattr(outline, "geoms", [outline]))
    assert len(polygons) == parts
    assert all(isinstance(p, Polygon) and p.exterior.is_ccw for p in polygons)
    box = outline.bounds
    assert box[0] >= -180 and box[2] <= 180
    assert (west > east) == (parts == 2)
    # Corners may lie within what edges reach, as in UTM, by the curvature of 110 km.
    assert south == pytest.approx(box[1], abs=0.05) and north == pytest.approx(box[3], abs=0.05)
    left, bottom, right, top = bounds
    steps = [0.05 + 0.1 * i for i in range(10)]
    xs = [left + (right - left) * u for u in steps for _ in steps]
    ys = [bottom + (top - bottom) * v for _ in steps for v in steps]
    longitudes, latitudes = transform(crs, "EPSG:4326", xs, ys)
    for lon, lat in zip(longitudes, latitudes, strict=True):
        assert outline.intersects(Point(math.remainder(lon, 360), lat))


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3413", 1), ("EPSG:3031", -1)])
def test_around_a_pole_the_outline_is_its_box(crs: str, sign: int) -> None:
    geometry, box = footprint(CRS.from_string(crs), (-50_000, -60_000, 60_000, 50_000))
    outline = shape(geometry)
    assert outline.is_valid and outline.exterior.is_ccw
    assert list(outline.bounds) == pytest.approx(box, abs=1e-6)
    assert [abs(box[0]), abs(box[2]), max(box[3], -box[1])] == [180, 180, 90]
    # The corner 78 km from the pole is the farthest: about 0.7 degrees.
    assert min(abs(box[1]), abs(box[3])) == pytest.approx(89.2, abs=0.1)
    assert sign * outline.centroid.y > 89
