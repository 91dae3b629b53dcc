import numpy as np
import pytest

from tfrecords_builder.allocation import Sites, allocate


def grid_sites(side, classes, seed=0, gap_units=0):
    """One site in each of side x side units; neighbours within `gap_units` are near."""
    random = np.random.default_rng(seed)
    center = np.array([(x, y) for y in range(side) for x in range(side)], float)
    near = [
        (i, j)
        for i in range(side * side)
        for j in range(side * side)
        if i != j and np.abs(center[i] - center[j]).max() <= gap_units
    ]
    return Sites(
        unit=np.arange(side * side),
        class_pixels=random.integers(0, 100, (side * side, classes)),
        near=np.array(near, int).reshape(-1, 2),
        center=center,
    )


def shares(sites, layout, splits=3):
    kept = sites.kept(layout)
    pixels = np.stack(
        [sites.class_pixels[kept & (layout[sites.unit] == s)].sum(axis=0) for s in range(splits)]
    )
    return pixels, pixels / pixels.sum(axis=0)


def test_classes_are_spread_as_asked():
    sites = grid_sites(10, 4)
    _, share = shares(sites, allocate(sites, (0.7, 0.15, 0.15), seed=1))
    np.testing.assert_allclose(share, np.array([[0.7], [0.15], [0.15]]) + np.zeros(4), atol=0.03)


def test_a_class_in_two_units_only_is_in_two_splits():
    sites = grid_sites(6, 2)
    sites.class_pixels[:, 1] = 0
    sites.class_pixels[[3, 30], 1] = 50
    pixels, _ = shares(sites, allocate(sites, (0.5, 0.5), seed=0), splits=2)
    assert (pixels[:, 1] == 50).all()


def test_the_gap_is_respected_and_most_is_kept():
    sites = grid_sites(12, 3, gap_units=1)
    layout = allocate(sites, (0.7, 0.15, 0.15), seed=3)
    kept = sites.kept(layout)
    for i, j in sites.near:  # Brute force: no two kept neighbours in different splits.
        assert not (kept[i] and kept[j] and layout[i] != layout[j])
    # Scattered single units would lose nearly everything: each has eight neighbours.
    assert kept.mean() > 0.6
    pixels, _ = shares(sites, layout)
    np.testing.assert_allclose(pixels.sum(axis=1) / pixels.sum(), (0.7, 0.15, 0.15), atol=0.06)


def test_lower_splits_give_way_to_higher_ones():
    sites = grid_sites(3, 1, gap_units=1)
    layout = np.array([0, 1, 2] * 3)
    assert sites.kept(layout).reshape(3, 3).tolist() == [[False, False, True]] * 3


def test_the_seed_decides():
    sites = grid_sites(8, 3)
    first, again, other = (allocate(sites, (0.8, 0.2), seed=s) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("units", [3, 4])
def test_few_units_still_fill_every_split(units):
    sites = Sites(
        unit=np.arange(units),
        class_pixels=np.full((units, 1), 10),
        near=np.zeros((0, 2), int),
        center=np.arange(units * 2.0).reshape(-1, 2),
    )
    assert set(allocate(sites, (0.7, 0.15, 0.15), seed=0)) == {0, 1, 2}
