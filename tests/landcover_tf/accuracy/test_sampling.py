"""Sample sizes by hand, allocation laws, and draws that do not depend on how the map is read."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.drawing import expected_accuracies
from landcover_tf.accuracy.sampling import (
    allocate,
    draw,
    expected_standard_error,
    shares,
    smallest_sample,
)
from landcover_tf.errors import ConfigError, LegendError, RasterError
from landcover_tf.legend import load_legend

# Table 5 of Olofsson et al. (2014): mapped shares, and the user's accuracies they conjecture.
WEIGHTS = np.array([0.020, 0.015, 0.320, 0.645])
ACCURACY = np.array([0.70, 0.60, 0.90, 0.95])
DEVIATIONS = np.sqrt(ACCURACY * (1 - ACCURACY))


def test_the_published_sample_size():
    # sum W S = .02*.4583 + .015*.4899 + .32*.3 + .645*.2179 = .25309; (.25309/.01)^2 = 640.6
    # Proportional: sum W S^2 / .01^2 = .067238 / .0001 = 672.4. Whole points may make one more or
    # less.
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000])
    for allocation, published in (("optimal", 641), ("proportional", 673)):
        share = shares(allocation, WEIGHTS, DEVIATIONS)
        points = smallest_sample(pixels, DEVIATIONS, share, minimum=0, target_se=0.01)
        assert abs(points.sum() - published) <= 1


@pytest.mark.parametrize("allocation", ["equal", "proportional", "optimal"])
@pytest.mark.parametrize("pixels", [(100_000, 50_000, 200), (1_000_000, 300_000, 20_000, 150)])
def test_no_smaller_sample_reaches_the_standard_error(allocation, pixels):
    """Also where a class has fewer pixels than its share, and where minima take points."""
    pixels = np.array(pixels)
    weights, deviations = pixels / pixels.sum(), np.full(len(pixels), 0.4)
    share = shares(allocation, weights, deviations)
    found = smallest_sample(pixels, deviations, share, minimum=50, target_se=0.01)
    assert expected_standard_error(weights, deviations, found) <= 0.01 * (1 + 1e-9)
    # Rounding to whole points decides about one or two.
    for total in (*range(200, found.sum() - 2, 50), found.sum() - 3):
        points = allocate(total, share, pixels, minimum=50)
        assert expected_standard_error(weights, deviations, points) > 0.01


def test_rare_classes_get_the_minimum_and_the_rest_goes_to_area():
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000])
    points = allocate(641, WEIGHTS, pixels, minimum=75)
    # 491 points for .32 and .645: 491 * .32 / .965 = 162.8.
    np.testing.assert_array_equal(points, [75, 75, 163, 328])
    # Halves remain in both: the larger takes the odd point.
    points = allocate(3, np.array([0.5, 0.5]), np.array([10, 90]), minimum=0)
    np.testing.assert_array_equal(points, [1, 2])


def test_a_class_smaller_than_its_minimum_is_taken_whole():
    points = allocate(100, np.array([0.01, 0.99]), np.array([7, 900]), minimum=50)
    np.testing.assert_array_equal(points, [7, 93])
    np.testing.assert_array_equal(
        allocate(9999, np.array([0.5, 0.5]), np.array([3, 4]), minimum=2), [3, 4]
    )
    np.testing.assert_array_equal(
        allocate(10, np.array([0.5, 0.5]), np.array([300, 400]), minimum=50), [50, 50]
    )


@settings(max_examples=100)
@given(
    st.integers(1, 5000),
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), min_size=1, max_size=9),
    st.integers(2, 100),
)
def test_allocation_keeps_its_bounds_and_its_total(total, strata, minimum):
    pixels = np.array([n for n, _ in strata])
    share = np.array([s for _, s in strata])
    share = share / share.sum() if share.sum() > 1e-6 else np.full(len(share), 1 / len(share))
    points = allocate(total, share, pixels, minimum=minimum)
    lower = np.minimum(minimum, pixels)
    assert (points >= lower).all()
    assert (points <= pixels).all()
    assert points.sum() == np.clip(total, lower.sum(), pixels.sum())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(100, 10**6), st.floats(0.5, 0.99)), min_size=2, max_size=6))
def test_optimal_allocation_has_the_least_standard_error(strata):
    pixels, accuracy = map(np.array, zip(*strata, strict=True))
    weights, deviations = pixels / pixels.sum(), np.sqrt(accuracy * (1 - accuracy))

    def error(name):
        points = 1000 * shares(name, weights, deviations)
        spread = weights**2 * deviations**2
        return (spread / points).sum()

    assert error("optimal") <= min(error("proportional"), error("equal")) * (1 + 1e-9)


def test_the_promised_error_is_that_of_the_formula():
    found = expected_standard_error(WEIGHTS, DEVIATIONS, np.array([75, 75, 165, 325]))
    byhand = (0.02**2 * 0.21 / 75 + 0.015**2 * 0.24 / 75 + 0.32**2 * 0.09 / 165
              + 0.645**2 * 0.0475 / 325)  # fmt: skip
    assert found == pytest.approx(byhand**0.5)


def test_expected_accuracies_by_code_and_by_name():
    legend = load_legend("landcover9")
    found = expected_accuracies(("0.8", "20=0.95", "water bodies=0.99"), legend)
    assert (found[10], found[20], found[60]) == (0.8, 0.95, 0.99)
    for entries, message in (
        (("1.2",), "shares in"),
        (("forests=x",), "shares in"),
        (("0.8", "lava=0.5"), "names class 'lava'"),
        (("20=0.5",), "no value for classes"),
    ):
        with pytest.raises(ConfigError, match=message):
            expected_accuracies(entries, legend)


def write_map(path, codes, **profile):
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype=codes.dtype, crs="EPSG:32634", nodata=0,
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_400_000), **profile,
    ) as raster:  # fmt: skip
        raster.write(codes, 1)
    return path


@pytest.fixture
def codes():
    rng = np.random.default_rng(7)
    return rng.choice(np.array([0, 10, 20, 60], np.uint8), (83, 71), p=[0.2, 0.5, 0.25, 0.05])


def test_a_draw_depends_on_map_and_seed_alone(tmp_path, codes):
    class_map = ClassMap.open(write_map(tmp_path / "map.tif", codes))
    pixels = class_map.count(10).classes
    wanted = {10: 40, 20: 30, 60: 20}
    first = draw(class_map, pixels, wanted, seed=3, rows_per_strip=5)
    for rows in (1, 83, 400):
        again = draw(class_map, pixels, wanted, seed=3, rows_per_strip=rows)
        np.testing.assert_array_equal(first.row, again.row)
        np.testing.assert_array_equal(first.col, again.col)
        np.testing.assert_array_equal(first.stratum, again.stratum)
    np.testing.assert_array_equal(codes[first.row, first.col], first.stratum)
    assert len({*zip(first.row, first.col, strict=True)}) == 90, "no pixel twice"
    other = draw(class_map, pixels, wanted, seed=4, rows_per_strip=5)
    assert not np.array_equal(first.row, other.row)
    assert not np.all(np.diff(first.row) >= 0), "the order says nothing about the place"
    more = draw(class_map, pixels, wanted | {20: 60}, seed=3, rows_per_strip=9)
    places = {*zip(more.row[more.stratum == 10], more.col[more.stratum == 10], strict=True)}
    own = first.stratum == 10
    assert places == {*zip(first.row[own], first.col[own], strict=True)}


def test_classes_of_one_size_are_drawn_at_other_places(tmp_path):
    codes = np.repeat(np.array([10, 20], np.uint8), 200).reshape(20, 20)
    class_map = ClassMap.open(write_map(tmp_path / "map.tif", codes))
    drawn = draw(class_map, {10: 200, 20: 200}, {10: 20, 20: 20}, seed=3, rows_per_strip=7)
    one, other = (
        {*zip(drawn.row[own] % 10, drawn.col[own], strict=True)}
        for own in (drawn.stratum == 10, drawn.stratum == 20)
    )
    assert len(one) == len(other) == 20 and one != other


def test_every_pixel_of_a_class_is_drawn_equally_often(tmp_path, codes):
    class_map = ClassMap.open(write_map(tmp_path / "map.tif", codes[:12, :10]))
    pixels = class_map.count(12).classes
    counts = np.zeros((12, 10))
    for seed in range(600):
        drawn = draw(class_map, pixels, {10: 10}, seed=seed, rows_per_strip=7)
        np.add.at(counts, (drawn.row, drawn.col), 1)
    members = counts[codes[:12, :10] == 10]
    p = 10 / len(members)
    statistic = ((members - 600 * p) ** 2).sum() / (600 * p * (1 - p))
    # Chi-square with about as many degrees of freedom as pixels: mean k, deviation sqrt(2 k).
    assert abs(statistic - len(members)) < 4 * np.sqrt(2 * len(members))


def test_counts_unknown_and_excluded_codes(tmp_path, codes):
    codes[0, :3] = 255
    path = write_map(tmp_path / "map.tif", codes)
    with pytest.raises(RasterError, match=r"255 \(3 px\)"):
        ClassMap.open(path).count(7)
    found = ClassMap.open(path, None, (255, 60)).count(7)
    assert found.excluded == {255: 3, 60: int((codes == 60).sum())}
    assert found.classes[60] == 0
    assert found.mapped == int(np.isin(codes, (10, 20)).sum())
    assert not np.isin(ClassMap.open(path, None, (255, 60)).at(*np.nonzero(codes >= 60)), 60).any()


def test_what_is_no_class_map(tmp_path, codes):
    with pytest.raises(RasterError, match="cannot read the map"):
        ClassMap.open(tmp_path / "absent.tif")
    path = write_map(tmp_path / "wide.tif", codes.astype(np.uint16))
    with pytest.raises(RasterError, match="one uint8 band, got 1 of uint16"):
        ClassMap.open(path)
    with pytest.raises(LegendError, match="no legend 'moon'"):
        ClassMap.open(write_map(tmp_path / "map.tif", codes), "moon")


def test_area_of_a_pixel_in_square_metres(tmp_path, codes):
    assert ClassMap.open(write_map(tmp_path / "map.tif", codes)).grid.pixel_area_m2 == 100
    with rasterio.open(tmp_path / "map.tif", "r+") as raster:
        raster.crs = "EPSG:4326"
    assert ClassMap.open(tmp_path / "map.tif").grid.pixel_area_m2 is None
