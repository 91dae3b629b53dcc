from landcover_tf.evaluation.regions import block_names
from landcover_tf.grid import PatchGrid
from landcover_tf.patch_index import PatchEntry

GRID = PatchGrid(patch_size=256, patch_overlap=96)


def entry(product, group, *, row_off=0, crs=""):
    return PatchEntry(
        key=f"{product}:{row_off}", split="test", shard="s", position=0, product=product,
        group=group, row_off=row_off, col_off=0, crs=crs, x=0.0, y=0.0, valid_fraction=1.0,
        labelled_fraction=1.0, class_pixels={},
    )  # fmt: skip


def test_images_of_a_group_are_one_block():
    # Eight places, each seen on two dates.
    entries = [entry(f"{date}-{place}", f"g{place}") for place in range(8) for date in "ab"]
    names, unit = block_names(entries, 16, GRID)
    assert unit == "groups"
    assert len(set(names)) == 8
    assert names[::2] == names[1::2]


def test_blocks_of_two_crs_are_two():
    entries = [entry("a", f"{i}_0", crs=f"EPSG:3263{zone}") for i in range(4) for zone in (2, 3)]
    names, _ = block_names(entries, 8, GRID)
    assert len(set(names)) == 8


def test_few_groups_are_cut_into_squares_of_each_image():
    # A stride is 160 px, so a square is 480 px and the row at 480 begins the second one.
    entries = [entry(p, "g", row_off=row) for p in ("a", "b") for row in (0, 320, 480)]
    names, unit = block_names(entries, 6, GRID)
    assert unit == "squares of 480 px"
    assert names[0] == names[1] != names[2]
    assert len(set(names)) == 4
