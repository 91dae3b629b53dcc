import hashlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_tf.datasets import records
from landcover_tf.errors import DatasetError
from landcover_tf.grid import Window


def patch(image, label=None, **changes):
    size = image.shape[0]
    fields = {
        "image": image,
        "label": np.zeros((size, size), np.uint8) if label is None else label,
        "validity": np.zeros((size, size), np.uint8),
        "key": "T34SEH/0/0",
        "product": "S2A",
        "window": Window(row_off=-1, col_off=160, height=size, width=size),
        "crs": "EPSG:32634",
        "transform": (10.0, 0.0, 1 / 3, 0.0, -10.0, 4_100_040.0),
        "band_names": tuple(f"b{i}" for i in range(image.shape[-1])),
    } | changes
    return records.Patch(**fields)


def assert_same(a, b):
    for name in ("image", "label", "validity"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype
    for name in ("key", "product", "window", "crs", "transform", "band_names"):
        assert getattr(a, name) == getattr(b, name)


@settings(max_examples=30)
@given(
    hnp.arrays(np.uint16, (4, 4, 2)),
    hnp.arrays(np.uint8, (4, 4)),
    st.text(min_size=1, max_size=8),
)
def test_decode_undoes_encode(image, label, key):
    original = patch(image, label, key=key)
    assert_same(records.decode(records.encode(original)), original)


@settings(max_examples=40)
@given(
    key=st.text(max_size=200),
    product=st.text(max_size=3),
    crs=st.sampled_from(["", "EPSG:32634", "x" * 20_000]),
    offsets=st.tuples(*[st.sampled_from([-(2**40), -1, 0, 127, 128, 10_980, 2**35])] * 2),
    corner=st.floats(-1e7, 1e7),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    size=st.sampled_from([1, 8, 150]),
)
def test_the_length_of_a_record_is_known_without_it(
    key, product, crs, offsets, corner, dtype, size
):
    described = {
        "key": key,
        "product": product,
        "window": Window(row_off=offsets[0], col_off=offsets[1], height=size, width=size),
        "crs": crs,
        "transform": (10.0, 0.0, corner, 0.0, -10.0, 4e6),
        "band_names": ("B02", "B03"),
    }
    found = records.encoded_bytes(**described, dtype=dtype)
    made = patch(np.zeros((size, size, 2), dtype), **described)
    assert found == len(records.encode(made))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_extremes_of_every_dtype_in_graph_and_out(dtype):
    kind = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    image = np.array([kind.min, 0, 1, kind.max], dtype).reshape(2, 2, 1)
    serialized = records.encode(patch(image))
    assert_same(records.decode(serialized), patch(image))
    one = records.parse(tf.constant(serialized), patch_size=2, bands=1, dtype=dtype)
    np.testing.assert_array_equal(one["image"], image)
    batches = tf.data.Dataset.from_tensors(serialized).repeat(3).batch(2)
    parsed = batches.map(lambda s: records.parse(s, patch_size=2, bands=1, dtype=dtype))
    shapes = [batch["image"].shape for batch in parsed]
    assert shapes == [(2, 2, 2, 1), (1, 2, 2, 1)]


def test_equal_patches_give_equal_bytes_for_ever():
    image = np.arange(8, dtype=np.uint16).reshape(2, 2, 2)
    serialized = records.encode(patch(image, validity=np.full((2, 2), 64, np.uint8)))
    # The bytes of schema version 1; a change here is a new schema version.
    assert hashlib.sha256(serialized).hexdigest()[:16] == "54d170cd90d0aa57"


def test_bytes_that_are_no_record_are_named():
    with pytest.raises(DatasetError, match="shard 3, record 7 is not a record"):
        records.decode(b"rubbish", where="shard 3, record 7")


def test_rasters_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="label must be uint8"):
        patch(np.zeros((2, 2, 1), np.uint16), np.zeros((3, 2), np.uint8))


def test_band_names_that_cannot_be_told_apart_again_are_refused():
    with pytest.raises(ValueError, match=r"a band name has a comma: \('B4, red', 'b'\)"):
        patch(np.zeros((2, 2, 2), np.uint8), band_names=("B4, red", "b"))
