"""Pixel sizes in metres, feet and degrees."""

import math

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from landcover_tf.pixel_sizes import pixel_area_m2, pixel_sides_m

COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))
TURNED = Affine(20 * COS, 10 * SIN, 0, 20 * SIN, -10 * COS, 0)
"""Of pixels 20 units wide and 10 high, turned by 30 degrees."""


def test_sides_and_area_are_those_of_the_pixel_however_it_is_turned():
    utm = CRS.from_epsg(32634)
    assert pixel_sides_m(TURNED, utm) == pytest.approx((10, 20))
    assert pixel_area_m2(TURNED, utm) == pytest.approx(200)


def test_feet_count_as_feet():
    feet = CRS.from_epsg(2263)  # New York Long Island, US survey feet of 1200 / 3937 m.
    foot = 1200 / 3937
    assert pixel_sides_m(TURNED, feet) == pytest.approx((10 * foot, 20 * foot))
    assert pixel_area_m2(TURNED, feet) == pytest.approx(200 * foot**2)


def test_a_pixel_of_degrees_is_a_square_without_area():
    degrees = CRS.from_epsg(4326)
    degree_m = 2 * math.pi * 6_378_137 / 360
    grid = Affine.scale(1 / 8000, -1 / 12000)  # WorldCover's rows: 9.28 m.
    assert pixel_sides_m(grid, degrees) == pytest.approx([degree_m / 12000] * 2, rel=1e-5)
    assert pixel_area_m2(grid, degrees) is None
    assert pixel_area_m2(grid, None) is None
