"""Pixel sizes in metres, feet and degrees, and where a projection stretches the ground."""

import math

import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from landcover_tf.rasters.pixel_sizes import pixel_area_m2, pixel_sides_m, square_side_m

COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))
SHAPE = (100, 100)
EQUATOR_DEGREE_M = 2 * math.pi * 6_378_137 / 360


def turned(x: float, y: float) -> Affine:
    """Returns a grid of pixels 20 units wide and 10 high, turned by 30 degrees."""
    return Affine(20 * COS, 10 * SIN, x, 20 * SIN, -10 * COS, y)


def grid_at(crs: CRS, longitude: float, latitude: float, size: float) -> Affine:
    """Returns a grid of square pixels whose middle of 100 x 100 lies at a place."""
    (x,), (y,) = transform("EPSG:4326", crs, [longitude], [latitude])
    return Affine(size, 0, x - 50 * size, 0, -size, y + 50 * size)


def test_sides_and_area_are_those_of_the_pixel_however_it_is_turned():
    utm = CRS.from_epsg(32634)
    assert pixel_sides_m(turned(5e5, 5e6), utm, SHAPE) == pytest.approx((10, 20))
    assert pixel_area_m2(turned(5e5, 5e6), utm, SHAPE) == pytest.approx(200)
    assert square_side_m(turned(5e5, 5e6), utm, SHAPE) == pytest.approx(200**0.5)
    for crs in (None, CRS.from_epsg(4326)):
        assert square_side_m(Affine(1e-4, 0, 15, 0, -1e-4, 46), crs, SHAPE) is None


def test_feet_count_as_feet():
    feet = CRS.from_epsg(2263)  # New York Long Island, US survey feet of 1200 / 3937 m.
    foot = 1200 / 3937
    grid = turned(1e6, 2e5)
    assert pixel_sides_m(grid, feet, SHAPE) == pytest.approx((10 * foot, 20 * foot))
    assert pixel_area_m2(grid, feet, SHAPE) == pytest.approx(200 * foot**2)


def test_pixels_of_degrees_are_as_narrow_as_their_latitude_makes_them():
    degrees = CRS.from_epsg(4326)
    # Snyder (1987), table of the length of a degree at latitude 45: 111,132 and 78,847 m.
    grid = grid_at(degrees, 15.0, 45.0, 1 / 12000)
    expected = pytest.approx((111_132 / 12000, 78_847 / 12000), rel=1e-5)
    assert pixel_sides_m(grid, degrees, SHAPE) == expected
    equator = grid_at(degrees, 15.0, 0.0, 1 / 12000)
    assert pixel_sides_m(equator, degrees, SHAPE)[1] == pytest.approx(EQUATOR_DEGREE_M / 12000)
    assert pixel_area_m2(grid, degrees, SHAPE) is None
    assert pixel_area_m2(grid, None, SHAPE) is None


@pytest.mark.parametrize("latitude", [-60.0, 45.0, 70.0])
def test_web_mercator_is_measured_on_the_ground(latitude):
    mercator = CRS.from_epsg(3857)
    # A spherical projection of the ellipsoid: a unit along a row is N cos(lat) / a metres, up it
    # is M cos(lat) / a, with the radii of curvature N and M.
    e2, sine = 0.00669438, math.sin(math.radians(latitude))
    root = math.sqrt(1 - e2 * sine**2)
    right = math.cos(math.radians(latitude)) / root
    up = math.cos(math.radians(latitude)) * (1 - e2) / root**3
    grid = grid_at(mercator, 15.0, latitude, 10.0)
    assert pixel_sides_m(grid, mercator, SHAPE) == pytest.approx((10 * up, 10 * right), rel=1e-5)
    assert pixel_area_m2(grid, mercator, SHAPE) == pytest.approx(100 * up * right, rel=1e-5)


def test_a_raster_over_which_the_scale_varies_has_no_pixel_area():
    mercator = CRS.from_epsg(3857)
    grid = grid_at(mercator, 15.0, 45.0, 10.0)
    # 20 km of ground: half of it, 0.09 degrees, changes the scale by tan(45) * 0.0016 on each
    # side; 220 km by ten times as much, and the area by twice the scale.
    assert pixel_area_m2(grid, mercator, (2000, 2000)) is not None
    assert pixel_area_m2(grid, mercator, (22_000, 22_000)) is None
    utm = CRS.from_epsg(32633)
    assert pixel_area_m2(grid_at(utm, 15.0, 45.0, 10.0), utm, (22_000, 22_000)) == 100


@pytest.mark.parametrize(("code", "longitude", "latitude"), [(3413, 0.0, 90.0), (6933, 180.0, 60)])
def test_neither_the_pole_nor_the_antimeridian_confuse(code, longitude, latitude):
    crs = CRS.from_epsg(code)
    grid = grid_at(crs, longitude, latitude, 100.0)
    height, width = pixel_sides_m(grid, crs, SHAPE)
    area = pixel_area_m2(grid, crs, SHAPE)
    assert area == pytest.approx(height * width, rel=0.01)
    if code == 6933:  # Equal area, true along the parallel of 30 degrees.
        assert area == 10_000
        assert width == pytest.approx(100 * math.cos(math.radians(60)) / COS, rel=0.005)
    else:  # True along the parallel of 70 degrees: (1 + sin(70)) / 2 at the pole, on a sphere.
        assert width == pytest.approx(100 / 0.9698, rel=0.005)


def test_what_has_no_place_on_earth_keeps_its_own_size():
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    assert pixel_sides_m(turned(0, 0), local, SHAPE) == pytest.approx((10, 20))
