"""Every pixel of a split is scored once, and what belongs together is resampled together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.accuracy.baseline import sample_pixels
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry
from landcover_tf.evaluation.predictions import patches
from landcover_tf.evaluation.regions import block_names, labelled_pixels, own_regions
from landcover_tf.grid import PatchGrid
from landcover_tf.legend import IGNORED

GRID = PatchGrid(patch_size=256, patch_overlap=96)


def entry(raster, group, *, row_off=0, col_off=0, crs="", x=0.0, y=0.0, product=None):
    return PatchEntry(
        key=f"{raster}:{row_off:05d}:{col_off:05d}", split="test", shard="s", position=0,
        product=product or raster,
        group=group, row_off=row_off, col_off=col_off, crs=crs, x=x, y=y, valid_fraction=1.0,
        labelled_fraction=1.0, class_pixels={},
    )  # fmt: skip


def test_images_of_a_group_are_one_block():
    # Eight places, each seen on two dates.
    entries = [entry(f"{date}-{place}", f"g{place}") for place in range(8) for date in "ab"]
    names, unit = block_names(entries, GRID)
    assert unit == "groups"
    assert len(set(names)) == 8
    assert names[::2] == names[1::2]


def test_blocks_of_two_crs_are_two():
    entries = [
        entry("a", f"{i}_0", crs=f"EPSG:3263{zone}", x=i) for i in range(4) for zone in (2, 3)
    ]
    names, _ = block_names(entries, GRID)
    assert len(set(names)) == 8


def dates(products, group, crs="EPSG:32633", unit=10.0):
    """Returns patches of each product at rows 0, 320 and 480, all of the same ground."""
    return [
        entry(p, group(p), row_off=row, crs=crs, x=500_000 * unit / 10, y=-row * unit)
        for p in products
        for row in (0, 320, 480)
    ]


@pytest.mark.parametrize(("crs", "unit"), [("EPSG:32633", 10.0), ("EPSG:4326", 1e-4)])
def test_few_groups_are_cut_into_squares_of_the_ground(crs, unit):
    # A stride is 160 px, so a square is 480 px and the row at 480 begins the second one.
    entries = dates("abc", lambda product: "g", crs, unit)
    names, unit_name = block_names(entries, GRID)
    assert unit_name == "squares of 480 px"
    assert names[0] == names[1] != names[2]
    assert names[:3] == names[3:6] == names[6:]


def test_scenes_of_one_place_are_no_groups():
    entries = dates("abcdefgh", lambda product: product)
    names, unit = block_names(entries, GRID)
    assert unit == "squares of 480 px"
    assert len(set(names)) == 2


def test_dates_of_images_of_one_patch_are_one_block():
    entries = [entry(f"{date}{x}", "g", crs="EPSG:32633", x=x) for x in (0.0, 9.0) for date in "ab"]
    names, _ = block_names(entries, GRID)
    assert names[0] == names[1] != names[2] == names[3]


def test_images_without_a_crs_have_squares_of_their_own():
    names, _ = block_names(dates("ab", lambda product: "g", crs=""), GRID)
    assert names[0] == names[1] != names[2]
    assert len(set(names)) == 4


def test_rasters_of_one_product_keep_their_pixel_size_and_all_their_pixels():
    # Two images of a product 50 km apart, each with patches at rows 0, 320 and 480 of 10 m.
    entries = [
        entry(name, "g", row_off=row, crs="EPSG:32633", x=x, y=-row * 10.0, product="p")
        for row in (0, 320, 480)
        for name, x in (("a", 5e5), ("b", 5.5e5))
    ]
    names, _ = block_names(entries, GRID)
    assert names[:2] == names[2:4]
    assert len(set(names)) == 4
    regions = list(own_regions(entries, 256))
    for a, b in zip(regions[::2], regions[1::2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert regions[0].all()


def test_as_many_pixels_are_drawn_from_overlapping_patches_as_were_asked_for(tiny_dataset):
    info = DatasetInfo.load(tiny_dataset)
    shown = [
        (image, label)
        for batch in patches(info, tiny_dataset, "train", batch_size=8, label="x")
        for image, label in zip(*batch, strict=True)
    ]
    counted = labelled_pixels(info, tiny_dataset, "train")
    assert counted == sum(int((label != IGNORED).sum()) for _, label in shown)
    # Patches of 64 px overlap by 16, so many are seen twice.
    assert counted > 1.3 * info.split("train").labelled_pixels
    _, drawn = sample_pixels(shown, pixels=2000, labelled_pixels=counted, context=0, seed=0)
    # The standard deviation is below sqrt(2000) = 45.
    assert abs(len(drawn) - 2000) < 200


def at(row_off: int, col_off: int, raster: str = "p") -> PatchEntry:
    return entry(raster, "g", row_off=row_off, col_off=col_off)


def scored(entries, grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Returns how often each pixel is scored, and whether a patch shows it."""
    extent = max(max(e.row_off, e.col_off) for e in entries) + grid.patch_size
    counts, shown = np.zeros((extent, extent), int), np.zeros((extent, extent), bool)
    for one, region in zip(entries, own_regions(entries, grid.patch_size), strict=True):
        patch = np.s_[one.row_off : one.row_off + grid.patch_size,
                      one.col_off : one.col_off + grid.patch_size]  # fmt: skip
        counts[patch] += region
        shown[patch] = True
    return counts, shown


@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 2), (8, 3), (9, 6), (7, 5)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 30), (23, 29)])
def test_a_whole_grid_is_scored_once_up_to_its_edges(size, overlap, height, width):
    grid = PatchGrid(patch_size=size, patch_overlap=overlap)
    entries = [at(w.row_off, w.col_off) for w in grid.windows(height, width)]
    counts, shown = scored(entries, grid)
    np.testing.assert_array_equal(counts, shown)
    assert counts[:height, :width].min() == 1


@given(
    places=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20),
    size=st.integers(1, 9),
    data=st.data(),
)
def test_every_pixel_that_a_patch_shows_is_scored_once(places, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    grid = PatchGrid(patch_size=size, patch_overlap=overlap)
    entries = [at(row * grid.stride, col * grid.stride) for row, col in places]
    counts, shown = scored(entries, grid)
    np.testing.assert_array_equal(counts, shown)


def test_a_diagonal_neighbour_takes_no_more_than_the_shared_corner():
    grid = PatchGrid(patch_size=10, patch_overlap=4)
    first, second = own_regions([at(0, 0), at(6, 6)], grid.patch_size)
    # They share rows and columns 6 to 9, cut by the diagonal from (9, 6) to (6, 9), which is as
    # near to both and belongs to the lower one.
    assert first.sum() + second.sum() == 200 - 16
    for region, shared in ((first, np.s_[6:, 6:]), (second, np.s_[:4, :4])):
        outside = np.ones((10, 10), bool)
        outside[shared] = False
        assert region[outside].all()
    np.testing.assert_array_equal(
        first[6:, 6:], [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    )


def test_patches_meet_in_the_middle_of_their_overlap():
    regions = own_regions([at(0, 0), at(0, 6), at(0, 6, "q")], 10)
    # They share columns 6 to 9; the first takes 6 and 7.
    expected = [np.r_[:8], np.r_[2:10], np.r_[:10]]
    for region, columns in zip(regions, expected, strict=True):
        np.testing.assert_array_equal(region, np.isin(np.r_[:10], columns) & np.ones((10, 1), bool))


def test_patches_at_any_distance_are_scored_once():
    # No common stride; 12 and 18 begin in one cell of 10 px, 20 in the next.
    rows = [12, 18, 20]
    counts, shown = scored([at(row, 0) for row in rows], PatchGrid(patch_size=10, patch_overlap=8))
    np.testing.assert_array_equal(counts, shown)
