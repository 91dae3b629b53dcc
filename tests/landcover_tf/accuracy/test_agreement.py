"""Streamed agreement against the whole rasters at once."""

import numpy as np
import pytest
import rasterio
from fakes.full_disks import full_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt
from scipy.ndimage import label as scipy_label

from landcover_tf.accuracy.agreement import (
    AGREES,
    DIFFERS,
    ONLY_MAP,
    ONLY_REFERENCE,
    boundary_distance,
    compare,
    ring_names,
)
from landcover_tf.accuracy.agreement_map import agreement_map
from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.object_sizes import ObjectSizes, range_names
from landcover_tf.accuracy.scores import confusion_matrix
from landcover_tf.errors import OutputError
from landcover_tf.legend import IGNORED


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 30), st.integers(1, 25))
def test_objects_are_the_same_however_the_raster_is_cut(seed, rows, height, width):
    rng = np.random.default_rng(seed)
    reference = rng.choice(np.array([0, 1, 2, IGNORED], np.uint8), (height, width))
    mapped = rng.choice(np.array([0, 1, 2, IGNORED], np.uint8), (height, width))
    sizes = ObjectSizes(3, width)
    for start in range(0, height, rows):
        sizes.add(reference[start : start + rows], mapped[start : start + rows])
    sizes.finish()
    objects = np.zeros_like(sizes.objects)
    matrices = np.zeros_like(sizes.matrices)
    for land_cover in range(3):
        regions, number = scipy_label(reference == land_cover)
        for region in range(1, number + 1):
            inside = regions == region
            place = np.searchsorted((10, 100, 1000, 10_000), inside.sum(), side="right")
            objects[place, land_cover] += 1
            for predicted in range(3):
                matrices[place, land_cover, predicted] += (inside & (mapped == predicted)).sum()
    np.testing.assert_array_equal(sizes.objects, objects)
    np.testing.assert_array_equal(sizes.matrices, matrices)
    assert sizes.pixels.sum() == (reference != IGNORED).sum()


def test_ranges_have_names():
    assert range_names() == [
        "1-9 px", "10-99 px", "100-999 px", "1,000-9,999 px", "10,000 px and more",
    ]  # fmt: skip
    assert ring_names() == [
        "touches another class", "1 px away", "2-4 px away", "5-9 px away", "10 px and more away",
    ]  # fmt: skip


def test_distances_to_a_straight_boundary():
    classes = np.zeros((3, 30), np.uint8)
    classes[:, 15:] = 1
    expected = np.minimum(np.r_[np.arange(14, -1, -1), np.arange(15)], 10)
    np.testing.assert_array_equal(boundary_distance(classes), np.tile(expected, (3, 1)))
    classes[:, 15:] = IGNORED
    assert (boundary_distance(classes) == 10).all(), "no data is no boundary"


@pytest.fixture
def rasters(tmp_path):
    """A map of 47 x 61 pixels with no data, and reference codes with holes."""
    rng = np.random.default_rng(1)
    coarse = rng.choice(np.array([10, 20, 60], np.uint8), (6, 8))
    coarse[1:4, 1:4] = 10  # The middle is more than 10 px from any boundary.
    reference = np.kron(coarse, np.ones((8, 8), np.uint8))[:47, :61]
    codes = np.where(rng.random((47, 61)) < 0.25, 20, reference).astype(np.uint8)
    codes[:5, :7] = 0
    reference[40:, 50:] = 0
    reference[0, 0] = 0
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=47, width=61, count=1, dtype="uint8", crs="EPSG:32634",
        transform=rasterio.transform.from_origin(500_000, 4_400_000, 10, 10),
    ) as raster:  # fmt: skip
        raster.write(codes, 1)
    return ClassMap.open(path), codes, reference


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_streaming_gives_what_whole_rasters_give(rasters, rows):
    class_map, codes, reference = rasters
    outcome = np.zeros(codes.shape, np.uint8)

    def write(window, values):
        outcome[window.slices] = values

    found = compare(
        class_map, lambda w: reference[w.slices], block_px=20, rows_per_strip=rows, write=write
    )
    index = class_map.legend.index_of_code
    truth = np.where(codes == 0, IGNORED, index[reference])
    whole = confusion_matrix(truth, index[codes], 8)
    np.testing.assert_array_equal(found.matrix, whole)
    np.testing.assert_array_equal(found.rings.sum(axis=0), whole)
    np.testing.assert_array_equal(found.sizes.matrices.sum(axis=0), whole)
    assert len(found.blocks) == 11, "the last one has no reference"
    for number, block in enumerate(found.blocks):
        row, col = number // 4 * 20, number % 4 * 20
        inside = (slice(row, row + 20), slice(col, col + 20))
        np.testing.assert_array_equal(
            block, confusion_matrix(truth[inside], index[codes][inside], 8)
        )
    assert found.only_map == ((reference == 0) & (codes != 0)).sum()
    assert found.only_reference == ((reference != 0) & (codes == 0)).sum()
    assert found.neither == 1
    for value, where in (
        (AGREES, (reference == codes) & (codes != 0)),
        (DIFFERS, (reference != codes) & (codes != 0) & (reference != 0)),
        (ONLY_MAP, (reference == 0) & (codes != 0)),
        (ONLY_REFERENCE, (reference != 0) & (codes == 0)),
    ):
        np.testing.assert_array_equal(outcome == value, where)
    # Pixels of the first ring are those with a neighbour of another class.
    padded = np.pad(reference, 1)
    near = np.zeros(reference.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other = padded[dy : dy + 47, dx : dx + 61]
        near |= (other != reference) & (other != 0) & (reference != 0)
    assert found.rings[0].sum() == (near & (codes != 0)).sum()
    distance = distance_transform_cdt(~near, metric="chessboard")
    for ring, least in ((3, 5), (4, 10)):
        far = (distance >= least) & (codes != 0) & (reference != 0)
        assert found.rings[ring:].sum() == far.sum() > 0


def test_a_map_of_agreement_on_a_full_disk_is_refused(rasters, tmp_path):
    class_map, codes, _ = rasters
    outcome = np.random.default_rng(0).integers(0, 5, codes.shape, np.uint8)  # 1.3 kB packed.
    with (
        pytest.raises(OutputError, match=r"is the disk full\?"),
        full_disk(800),
        agreement_map(tmp_path / "agreement.tif", class_map) as write,
    ):
        for strip in class_map.grid.window.strips(10):
            write(strip, outcome[strip.row_off : strip.row_end])
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]
