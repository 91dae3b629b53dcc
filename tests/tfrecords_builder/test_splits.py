import json
import re
from pathlib import Path

import numpy as np
import pytest
from builder_inputs import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from landcover_tf.datasets.dataset_info import BandInfo, ProductInfo
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.grid import PatchGrid
from landcover_tf.legend import load_legend
from tfrecords_builder.block_sizes import is_affordable
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.patches import Candidate
from tfrecords_builder.placements import IN_GAP, OUTSIDE_ZONES
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.sources import Source
from tfrecords_builder.splits import patch_key, split_patches

LEGEND = load_legend("landcover9")
SIZE = 16


def raster(name, *, x=0, y=0, side=160, crs="EPSG:32633", pixel=10.0, **values):
    """A raster, of 10 m pixels by default, that exists in name only."""
    product = ProductInfo(id=name, path=name, tile=values.pop("tile", None))
    return SourceRaster(
        source=Source(id=name, image=Path(name), label=Path(name), product=product, **values),
        bands=(BandInfo(name="B02"),),
        indexes=(1,),
        dtype="uint16",
        nodata=0,
        label_nodata=None,
        height=side,
        width=side,
        crs=crs,
        transform=(pixel, 0.0, float(x), 0.0, -pixel, float(y)),
        resolution_m=pixel if crs else None,
    )


def candidates_of(rasters, overlap=4, seed=0):
    random = np.random.default_rng(seed)
    return [
        Candidate(
            source=number,
            window=window,
            valid_fraction=1.0,
            labelled_fraction=1.0,
            class_pixels={10: int(random.integers(1, 200)), 60: int(random.integers(0, 56))},
        )
        for number, described in enumerate(rasters)
        for window in PatchGrid(patch_size=SIZE, patch_overlap=overlap).windows(
            described.height, described.width
        )
    ]


def config(**values):
    defaults = {"patch_size": SIZE, "patch_overlap": 4, "block_size_m": 300.0}
    return BuildConfig(data_dir=Path("d"), output_dir=Path("o"), **(defaults | values))


def split(rasters, candidates=None, **values):
    candidates = candidates_of(rasters) if candidates is None else candidates
    return split_patches(candidates, rasters, LEGEND, config(**values))


def ground(candidate, described):
    """Returns the set of ground pixels of a patch, counted from the CRS origin."""
    inside = candidate.window.clip(described.height, described.width)
    x0, y0 = described.transform[2] / 10, -described.transform[5] / 10
    rows = range(int(y0) + inside.row_off, int(y0) + inside.row_end)
    cols = range(int(x0) + inside.col_off, int(x0) + inside.col_end)
    return rows, cols


def gap_between(first, second):
    """Pixels between two rectangles of rows and columns, negative where they overlap."""
    gaps = [max(b.start - a.stop, a.start - b.stop) for a, b in zip(first, second, strict=True)]
    return max(gaps) if max(gaps) < 0 else float(np.hypot(*(max(g, 0) for g in gaps)))


@settings(max_examples=6)
@given(
    shift=st.tuples(st.integers(-8, 8), st.integers(-8, 8)),
    gap=st.sampled_from([0, 5, 16]),
    seed=st.integers(0, 5),
)
def test_no_ground_is_in_two_splits_and_the_gap_holds(shift, gap, seed):
    # Two dates of nearly the same ground: the second is shifted by whole blocks of pixels.
    rasters = [raster("a"), raster("b", x=100 * shift[0], y=100 * shift[1])]
    candidates = candidates_of(rasters)
    placed = split(rasters, candidates, gap_px=gap, seed=seed)
    kept = [
        (p.split, ground(c, rasters[c.source]))
        for c, p in zip(candidates, placed, strict=True)
        if p.split
    ]
    assert {name for name, _ in kept} == {"train", "val", "test"}
    assert all(p.split or p.reason == IN_GAP for p in placed)
    least = min(gap_between(a, b) for s, a in kept for t, b in kept if s != t)
    assert least >= max(gap, 0)


def test_the_order_of_candidates_does_not_matter():
    rasters = [raster("a"), raster("b", x=1600)]
    candidates = candidates_of(rasters)
    placed = split(rasters, candidates)
    backwards = split(rasters, candidates[::-1])[::-1]
    assert placed == backwards


def test_shares_of_splits_and_classes_are_near_the_aims():
    rasters = [raster(f"s{i}", x=3000 * i) for i in range(6)]
    candidates = candidates_of(rasters, overlap=0)
    placed = split(rasters, candidates, gap_px=0, patch_overlap=0)
    for code in (10, 60):
        pixels = {"train": 0, "val": 0, "test": 0}
        for candidate, place in zip(candidates, placed, strict=True):
            if place.split:
                pixels[place.split] += candidate.class_pixels[code]
        share = np.array(list(pixels.values())) / sum(pixels.values())
        np.testing.assert_allclose(share, (0.7, 0.15, 0.15), atol=0.03)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("group", [{"group": f"g{i // 2}"} for i in range(8)]),
        ("tiles", [{"tile": f"33U{i // 2}"} for i in range(8)]),
        ("scenes", [{} for _ in range(8)]),
    ],
)
def test_units_are_kept_whole(method, values):
    rasters = [raster(f"s{i}", crs="", **v) for i, v in enumerate(values)]
    candidates = candidates_of(rasters)
    placed = split(rasters, candidates, split=method)
    of_unit = {}
    for place in placed:
        of_unit.setdefault(place.group, set()).add(place.split)
    assert len(of_unit) == (8 if method == "scenes" else 4)
    assert all(len(splits) == 1 for splits in of_unit.values())


def test_given_splits_are_taken():
    rasters = [raster(n, crs="", split=s) for n, s in (("a", "test"), ("b", "train"))]
    candidates = candidates_of(rasters)
    placed = split(rasters, candidates, split="given")
    found = {(c.source, p.split) for c, p in zip(candidates, placed, strict=True)}
    assert found == {(0, "test"), (1, "train")}


def test_with_given_splits_a_group_is_kept_for_resampling():
    values = [{"group": "coast"}, {"group": "coast"}, {}]
    rasters = [raster(f"s{i}", crs="", split="train", **v) for i, v in enumerate(values)]
    candidates = candidates_of(rasters)
    placed = split(rasters, candidates, split="given")
    found = {(c.source, p.group) for c, p in zip(candidates, placed, strict=True)}
    assert found == {(0, "coast"), (1, "coast"), (2, "s2")}


def test_polygons_with_splits_and_patches_outside(tmp_path):
    # West half train, east half test in the CRS of the raster; the southernmost rows outside.
    def feature(x0, x1, name):
        ring = [[x0, 0], [x1, 0], [x1, -1400], [x0, -1400], [x0, 0]]
        return {
            "type": "Feature",
            "properties": {"split": name},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }

    zones = tmp_path / "zones.geojson"
    zones.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "crs": {"type": "name", "properties": {"name": "EPSG:32633"}},
                "features": [feature(0, 800, "train"), feature(800, 1600, "test")],
            }
        )
    )
    rasters = [raster("a")]
    candidates = candidates_of(rasters, overlap=0)
    placed = split(rasters, candidates, split="zones", zones=zones, gap_px=32, patch_overlap=0)
    for candidate, place in zip(candidates, placed, strict=True):
        row, col = candidate.window.row_off, candidate.window.col_off
        if row + 8 > 140:
            assert place.reason == OUTSIDE_ZONES
        elif col >= 80:
            assert place.split == "test"
        elif col + SIZE > 80 - 32:
            assert place.reason == IN_GAP
        else:
            assert place.split == "train"


@pytest.mark.parametrize(
    ("crs", "ring", "message"),
    [
        ({"properties": {"name": "EPSG:nonsense"}}, [[0, 0], [1, 0]], "names the CRS 'EPSG:nonsen"),
        ({"properties": {"name": 5}}, [[0, 0], [1, 0]], "names the CRS 5, which GDAL"),
        ("EPSG:32633", [[0, 0], [1, 0]], "is not a GeoJSON of polygons"),
        (None, [[0, 0], [1]], "feature 0, is no polygon: .*inhomogeneous"),
        (None, [0, 0], r"feature 0, is no polygon: expected rings of positions \[x, y\]"),
        (None, [[0], [1]], "feature 0, is no polygon: expected rings"),
    ],
)
def test_polygons_of_another_form_are_refused(tmp_path, crs, ring, message):
    geometry = {"type": "Polygon", "coordinates": [ring]}
    zones = tmp_path / "zones.geojson"
    zones.write_text(json.dumps({"crs": crs, "features": [{"geometry": geometry}]}))
    rasters = [raster("a")]
    with pytest.raises(DatasetError, match=message):
        split(rasters, candidates_of(rasters), split="zones", zones=zones)


def test_one_zone_of_two_splits_is_refused(tmp_path):
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    zones = tmp_path / "zones.geojson"
    features = [
        {"properties": {"zone": "north", "split": name}, "geometry": geometry}
        for name in ("train", "train", "val")
    ]
    zones.write_text(json.dumps({"features": features}))
    with pytest.raises(DatasetError, match=r"zone north into train in one .* into val in another"):
        split([raster("a")], candidates_of([raster("a")]), split="zones", zones=zones)


def write_zones(path, numbers, **profile):
    grid = {"crs": "EPSG:32633", "transform": from_origin(0, 0, 100, 100)}
    return write_raster(path, numbers, **grid, **profile)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("uint8", 255), ("float32", np.nan), ("float32", -9999)]
)
def test_zone_rasters_number_the_units(tmp_path, dtype, nodata):
    numbers = np.repeat(np.arange(4, dtype=dtype), 4)[None].repeat(16, axis=0)
    numbers[numbers == 0] = nodata
    zones = write_zones(tmp_path / "zones.tif", numbers, nodata=nodata)
    rasters = [raster("a")]
    candidates = candidates_of(rasters, overlap=0)
    placed = split(rasters, candidates, split="zones", zones=zones, gap_px=0, patch_overlap=0)
    for candidate, place in zip(candidates, placed, strict=True):
        zone = (candidate.window.col_off + 8) // 40
        assert place.group == (str(zone) if zone else "")
    assert {p.split for p in placed} == {None, "train", "val", "test"}


def test_zone_rasters_of_other_than_numbers_are_refused(tmp_path):
    zones = write_zones(tmp_path / "zones.tif", np.full((16, 16), 2.5, np.float32))
    with pytest.raises(DatasetError, match=r"zones\.tif holds 2\.5; expected whole numbers"):
        split([raster("a")], candidates_of([raster("a")]), split="zones", zones=zones)


def test_scenes_of_one_place_say_what_to_do():
    rasters = [raster(name) for name in ("may", "june", "july")]
    with pytest.raises(DatasetError, match=r"no patch is left .* --split blocks if images cover"):
        split_patches(candidates_of(rasters), rasters, LEGEND, config(split="scenes"))


def test_random_splits_need_a_confession():
    with pytest.raises(ConfigError, match="choose --split blocks, or add --i-know-it-leaks"):
        config(split="random")
    leaks = {"split": "random", "i_know_it_leaks": True}
    placed = split([raster("a")], **leaks)
    counts = [sum(p.split == name for p in placed) for name in ("train", "val", "test")]
    assert counts == [119, 25, 25]  # 13 x 13 patches; 0.15 * 169 = 25.35.
    assert placed != split([raster("a")], seed=1, **leaks)
    few = candidates_of([raster("a")])[:4]
    placed = split([raster("a")], few, val_fraction=0.1, test_fraction=0.1, **leaks)
    assert sorted(p.split for p in placed) == ["test", "train", "train", "val"]


def test_too_large_blocks_name_the_largest_that_fills_every_split():
    # 1.6 km with patches of 160 m: one block of 5 km, many of a quarter of that.
    rasters = [raster("a", x=1000, y=3000)]
    candidates = candidates_of(rasters)
    with pytest.raises(DatasetError, match=r"the patches lie in 1; .* --block-size-m") as caught:
        split(rasters, block_size_m=5000.0)
    size = re.search(r"--block-size-m (\d+) leaves patches in every split", str(caught.value))[1]
    placed = split_patches(candidates, rasters, LEGEND, config(block_size_m=float(size)))
    assert {p.split for p in placed} >= {"train", "val", "test"}
    larger = config(block_size_m=float(size) / 0.8)
    with pytest.raises(DatasetError):
        split_patches(candidates, rasters, LEGEND, larger)
    # Three patches and two gaps do not fit into 2 x 2 patches.
    with pytest.raises(DatasetError, match="no smaller --block-size-px leaves patches"):
        split([raster("a", side=2 * SIZE)], block_size_px=100)
    # Down to strides of one pixel.
    values = {"patch_size": 2, "patch_overlap": 1}
    with pytest.raises(DatasetError, match="no smaller --block-size-px leaves patches"):
        split([raster("a", side=4)], block_size_px=100, gap_px=9, **values)


@pytest.mark.parametrize("pixel", [0.1, 0.004])
def test_blocks_far_larger_than_an_aerial_image_name_one_that_fills_every_split(pixel):
    # 64 px of 0.1 m are 6.4 m, the image is 38 m wide: a hundredth of the default block.
    described = raster("a", x=500_000, y=4_000_000, side=384, pixel=pixel)
    values = {"patch_size": 64, "patch_overlap": 0}
    candidates = [
        Candidate(
            source=0,
            window=window,
            valid_fraction=1.0,
            labelled_fraction=1.0,
            class_pixels={10: 100},
        )
        for window in PatchGrid(**values).windows(384, 384)
    ]
    with pytest.raises(DatasetError, match="the patches lie in 1; ") as caught:
        split([described], candidates, block_size_m=5000.0, **values)
    size = re.search(r"--block-size-m ([0-9.]+) leaves patches", str(caught.value))[1]
    placed = split([described], candidates, block_size_m=float(size), **values)
    assert {p.split for p in placed} >= {"train", "val", "test"}


def test_the_largest_block_is_not_looked_for_among_millions_of_close_pairs():
    assert is_affordable(10_000, config()) and not is_affordable(10_001, config())
    # At strides of 12 px, (2 x (284 + 16) / 12)^2 = 2500 patches are near each.
    assert is_affordable(8000, config(gap_px=284)) and not is_affordable(8001, config(gap_px=284))
    assert not is_affordable(8464, config(gap_px=2000))
    # 68 x 68 patches, each within the gap of all others.
    with pytest.raises(DatasetError, match="the patches lie in 1; ") as caught:
        split([raster("a", x=1000, y=9000, side=820)], block_size_m=1e5, gap_px=820)
    assert "leaves patches" not in str(caught.value)


@pytest.mark.parametrize(
    ("rasters", "values", "message"),
    [
        (
            [raster("a")],
            {"split": "scenes"},
            "train, val, test need at least 3 scenes, but the patches lie in 1; use",
        ),
        ([raster("a")], {"split": "group"}, "needs the group of every image; 1 have none"),
        ([raster("a", split="Train")], {"split": "given"}, r"it has \['Train'\]"),
        ([raster("a", crs="")], {}, "a has no CRS, so it has no metres; give --block-size-px"),
        (
            [raster("a", side=40), raster("b", side=40), raster("c", side=40)],
            {"split": "scenes"},
            r"no patch is left for .* 3 scenes and a gap of 16 pixels; use a smaller --patch-size",
        ),
    ],
)
def test_an_impossible_split_says_what_to_do(rasters, values, message):
    with pytest.raises(DatasetError, match=message):
        split(rasters, **values)


def test_keys_name_source_row_and_column():
    candidate = candidates_of([raster("tile/a")])[1]
    assert patch_key(raster("tile/a"), candidate) == "tile/a:00000:00012"
