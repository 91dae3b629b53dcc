"""What the map of a dataset's page draws, and how much of it."""

import base64

import numpy as np
from rasterio.io import MemoryFile

from landcover_tf.datasets.patch_index import PatchEntry
from tfrecords_builder import card_maps
from tfrecords_builder.card_maps import drawn_map, painted

SPLITS = ("train", "val", "test")
RGB = {"train": (0x44, 0x77, 0xAA), "val": (0xCC, 0xBB, 0x44), "test": (0xEE, 0x66, 0x77)}


def entry(x, y, split="train", date=0):
    return PatchEntry(
        key=f"{date}:{x}:{y}", split=split, shard="s", position=0, product=str(date), group="g",
        row_off=0, col_off=0, crs="EPSG:32633", x=x, y=y, valid_fraction=1, labelled_fraction=1,
    )  # fmt: skip


def test_the_dates_of_a_place_are_one_square():
    places = [(0, 0), (100, 0), (100, 300)]
    members = [entry(x, y, date=date) for date in range(4) for x, y in places]
    members.append(entry(0, 0, split="val", date=4))
    found = drawn_map("EPSG:32633", members, (100, 100), SPLITS)
    assert {name: path.count("z") for name, path in found.paths.items()} == {
        "train": 3,
        "val": 1,
        "test": 0,
    }
    # 200 x 400 m in 600 units: a square has 150. The place in the north comes from the top.
    assert "M150.0 0.0h150.0v150.0h-150.0z" in found.paths["train"]
    assert found.paths["val"] == "M0.0 450.0h150.0v150.0h-150.0z"
    assert (found.width, found.height, found.picture) == (300, 600, "")


def test_many_places_become_a_small_picture():
    side = 150
    assert side**2 > card_maps.SQUARES
    members = [
        entry(100 * i, 100 * j, split="val" if i > 100 else "train")
        for i in range(side)
        for j in range(side)
        if (i, j) != (0, 0)
    ]
    found = drawn_map("EPSG:32633", members, (100, 100), SPLITS)
    assert found.paths == {}
    assert len(found.picture) < 100_000
    with MemoryFile(base64.b64decode(found.picture.partition(",")[2])) as file, file.open() as png:
        pixels = png.read().transpose(1, 2, 0)
    assert pixels.shape == (1200, 1200, 3)
    # 8 px a place; the first, in the south-west, has no patch.
    assert (pixels[-8:, :8] == 255).all()
    for col, split in ((8, "train"), (807, "train"), (808, "val"), (1199, "val")):
        expected = 0.45 * 255 + 0.55 * np.array(RGB[split])
        assert np.abs(pixels[:, col] - expected).max() <= 0.5


def test_painted_squares_are_those_of_brute_force():
    random = np.random.default_rng(0)
    cols, rows = random.uniform(0, 580, 60), random.uniform(0, 280, 60)
    split = random.integers(0, 3, 60)
    colours = [card_maps.SPLIT_COLOURS[name] for name in SPLITS]
    for patch in ((20, 18.3), (0.01, 0.01)):
        found = painted(cols, rows, split, patch, (600, 300), colours)
        expected = np.full((600, 1200, 3), 255.0)
        for number, name in enumerate(SPLITS):
            inside = np.zeros((600, 1200), bool)
            for col, row in zip(cols[split == number], rows[split == number], strict=True):
                left, above = round(2 * col), round(2 * row)
                right, below = round(2 * (col + patch[0])), round(2 * (row + patch[1]))
                inside[above : max(below, above + 1), left : max(right, left + 1)] = True
            expected[inside] = 0.45 * expected[inside] + 0.55 * np.array(RGB[name])
        assert np.abs(found - expected).max() <= 0.5
