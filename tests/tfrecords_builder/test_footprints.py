import numpy as np
import pytest
from fakes.traced_memory import peak_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform

from tfrecords_builder.footprints import Footprints, PatchPlace, locate

UTM33 = "EPSG:32633"


def place(x, y, *, width=10, height=10, crs=UTM33, raster="r", pixel=10.0):
    return PatchPlace(
        crs=crs,
        raster=raster,
        transform=(pixel, 0.0, float(x), 0.0, -pixel, float(y)),
        row_off=0,
        col_off=0,
        height=height,
        width=width,
    )


def brute_force_distance(first, second):
    """Distance between the nearest points of two rectangles, in 10 m pixels."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = first, second
    return np.hypot(max(u0 - x1, x0 - u1, 0), max(v0 - y1, y0 - v1, 0)) / 10


def test_a_footprint_is_the_rectangle_on_the_ground():
    found = locate([place(500000, 4000000, width=3, height=2)])
    assert found.bounds.tolist() == [[500000, 3999980, 500030, 4000000]]
    assert found.pixel.tolist() == [[10, 10]]


@settings(max_examples=60)
@given(
    corners=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9), st.integers(1, 9)),
        min_size=2,
        max_size=25,
    ),
    distance=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_close_pairs_and_distance_agree_with_brute_force(corners, distance, seed):
    prints = locate([place(10 * x, 10 * y, width=w, height=h) for x, y, w, h in corners])
    groups = np.random.default_rng(seed).integers(0, 2, len(corners))
    apart = {
        (i, j): brute_force_distance(prints.bounds[i], prints.bounds[j])
        for i in range(len(corners))
        for j in range(i + 1, len(corners))
        if groups[i] != groups[j]
    }
    found = {tuple(sorted(pair)) for pair in prints.close_pairs(distance, groups).tolist()}
    if distance:
        assert found == {pair for pair, d in apart.items() if d < distance - 1e-6}
    least = min(apart.values(), default=None)
    assert prints.min_distance(groups) == (None if least is None else pytest.approx(least))


@pytest.mark.parametrize("order", [1, -1])
def test_distances_count_the_smaller_of_two_pixels(order):
    # From x = 0 to 100 m with pixels of 10 m, and from 200 to 400 m with pixels of 20 m.
    prints = locate([place(0, 0), place(200, 0, pixel=20.0)][::order])
    assert prints.distance(np.array([[0, 1]])).tolist() == [10]
    assert prints.close_pairs(10, np.arange(2)).tolist() == []
    assert prints.close_pairs(10.5, np.arange(2)).tolist() == [[0, 1]]


def rectangles(random, count, *, across_m, east_m=0.0):
    """Rectangles of unequal sides and pixels in a square."""
    corner = random.uniform(0, across_m, (count, 2)) + np.array([east_m, 0])
    pixel = random.choice([10.0, 20.0], (count, 2))
    return np.column_stack([corner, corner + pixel * random.integers(1, 40, (count, 2))]), pixel


def of_two_groups(one, other):
    bounds, pixel = (np.concatenate(parts) for parts in zip(one, other, strict=True))
    prints = Footprints(world=np.zeros(len(bounds), int), bounds=bounds, pixel=pixel)
    return prints, np.repeat([0, 1], [len(one[0]), len(other[0])])


@pytest.mark.parametrize("apart_m", [-900, 500, 10_000, 1_000_000])
@pytest.mark.parametrize("counts", [(60, 60), (90, 7), (1, 80)])
def test_the_least_distance_of_unequal_rectangles_is_that_of_brute_force(counts, apart_m):
    random = np.random.default_rng(len(str(apart_m)) * counts[0])
    one = rectangles(random, counts[0], across_m=2000)
    other = rectangles(random, counts[1], across_m=2000, east_m=2800 + apart_m)
    prints, groups = of_two_groups(one, other)
    every = np.array([(i, j) for i in np.flatnonzero(groups == 0) for j in np.flatnonzero(groups)])
    expected = max(prints.distance(every).min(), 0)
    assert prints.min_distance(groups) == pytest.approx(expected)


def test_splits_far_apart_are_searched_without_all_of_their_pairs():
    random = np.random.default_rng(0)
    one = rectangles(random, 3000, across_m=50_000)
    prints, groups = of_two_groups(one, rectangles(random, 3000, across_m=50_000, east_m=9e5))
    prints.min_distance(groups)
    # 9 million pairs between the groups, as many within them, of two int64 each.
    assert peak_bytes(lambda: prints.min_distance(groups)) < 4e6


def test_pairs_within_a_group_take_no_memory():
    random = np.random.default_rng(0)
    # All in one place, as the dates of a tile.
    one = rectangles(random, 2000, across_m=10)
    prints, groups = of_two_groups(one, rectangles(random, 2, across_m=10, east_m=1000))
    assert len(prints.close_pairs(0, groups)) == 0
    assert peak_bytes(lambda: prints.close_pairs(0, groups)) < 2e6


def test_shared_pixels_are_counted():
    prints = locate([place(0, 100), place(70, 80), place(100, 100)])
    pairs = prints.close_pairs(0, np.array([0, 1, 2]))
    # The second overlaps the first by 3 x 8 and the third by 7 x 8 pixels; first and third touch.
    areas = dict(zip(map(tuple, np.sort(pairs).tolist()), prints.shared_pixels(pairs), strict=True))
    assert areas == {(0, 1): pytest.approx(24), (1, 2): pytest.approx(56)}


def test_rasters_without_a_crs_share_no_world():
    prints = locate([place(0, 0, crs="", raster=name) for name in ("a", "b", "a")])
    assert prints.close_pairs(5, np.array([0, 1, 2])).tolist() == [[0, 2]]
    assert prints.min_distance(np.array([0, 1, 0])) is None


def test_the_same_ground_in_two_utm_zones_meets():
    (x,), (y,) = transform(UTM33, "EPSG:32632", [300000], [5000000])
    same = place(x, y, crs="EPSG:32632", width=30, height=30)
    far = place(x + 20000, y, crs="EPSG:32632", width=30, height=30)
    prints = locate([place(300000, 5000000, width=30, height=30), same, far])
    pairs = prints.close_pairs(0, np.array([0, 1, 2]))
    assert pairs.tolist() == [[0, 1]]
    assert prints.shared_pixels(pairs)[0] == pytest.approx(900, rel=0.15)


@pytest.mark.parametrize(("right", "down"), [(40, 0), (0, 40), (30, 40)])
@pytest.mark.parametrize("other", ["EPSG:32634", "EPSG:4326"])
def test_distances_are_those_on_the_ground_far_north(other, right, down):
    # At 69 degrees north the equal-area grid, which a second CRS makes necessary, is 2.4 times as
    # wide and 0.4 times as high as the ground.
    x, y = 500000, 7650000
    members = [place(x, y), place(x + 10 * (10 + right), y - 10 * (10 + down))]
    far = place(25.0, 60.0, pixel=1e-4, crs=other)
    if other == "EPSG:32634":
        far = place(500000, 6600000, crs=other)
    prints = locate([*members, far])
    expected = np.hypot(right, down)
    assert prints.distance(np.array([[0, 1]]))[0] == pytest.approx(expected, rel=0.01)


def test_narrow_rectangles_have_the_pixels_of_wide_ones():
    # 2.75 degrees east of the zone's meridian and at 69 north, the grid is turned by
    # 2.75 sin(69) = 2.6 degrees.
    wide = place(610000, 7650000, width=256, height=256)
    narrow = place(610000, 7650000, width=2, height=256)
    prints = locate([wide, narrow, place(25.0, 60.0, pixel=1e-4, crs="EPSG:4326")])
    np.testing.assert_allclose(prints.pixel[1], prints.pixel[0], rtol=0.005)


def test_distances_across_the_antimeridian():
    def at(west_degrees):
        return place(west_degrees, 0.0, crs="EPSG:4326", pixel=0.001, width=10, height=10)

    (x,), (y,) = transform("EPSG:4326", "EPSG:32660", [179.5], [0.0])
    elsewhere = place(x, y, crs="EPSG:32660")
    west, across, east = at(179.97), at(179.995), at(-179.98)
    prints = locate([west, across, east, elsewhere])
    width = prints.bounds[1, 2] - prints.bounds[1, 0]
    assert width == pytest.approx(prints.bounds[0, 2] - prints.bounds[0, 0])
    # 179.98 to 179.995 and -179.995 to -179.98 are 15 pixels of 0.001 degrees each.
    assert prints.distance(np.array([[0, 1], [1, 2]])) == pytest.approx([15, 15], abs=0.01)
    assert prints.close_pairs(16, np.arange(4)).tolist() == [[0, 1], [1, 2]]


def test_a_dataset_around_the_earth_is_cut_in_its_widest_gap():
    longitudes = (-170.0, -100.0, -0.01, 0.02, 100.0, 179.99)
    prints = locate([place(x, 0.0, crs="EPSG:4326", pixel=0.001) for x in longitudes])
    # Europe, from 0 to 0.02 degrees, stays whole; 179.99 + 0.01 to -170 is 10 degrees.
    assert prints.distance(np.array([[2, 3], [5, 0]])) == pytest.approx([20, 10000], abs=0.1)


def test_feet_are_no_metres():
    # EPSG:2263 counts in US survey feet; pixels of 32.8083 feet are 10 m.
    prints = locate([place(980000, 200000, crs="EPSG:2263", pixel=32.8083)])
    width, height = prints.bounds[0, 2:] - prints.bounds[0, :2]
    assert width * height == pytest.approx(100 * 100, rel=0.01)
