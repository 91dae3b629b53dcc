"""Tensors on the wire, against TensorFlow's own reader and writer."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import tensor_pb2

from landcover_tf.errors import ServerError
from serving.rpc import pack, unpack
from serving.tensors import DTYPES, little_endian, parse_tensor

any_array = st.sampled_from(sorted(DTYPES.values())).flatmap(
    lambda dtype: arrays.arrays(
        dtype,
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        elements=None if dtype.startswith("float") else st.integers(0, 100),
    )
)


@given(any_array)
def test_what_tensorflow_serializes_is_read(array):
    parsed = parse_tensor(tf.io.serialize_tensor(tf.constant(array)).numpy())
    assert parsed.dtype == array.dtype and parsed.shape == array.shape
    np.testing.assert_array_equal(parsed, array)


@given(any_array)
def test_what_is_packed_tensorflow_reads(array):
    proto = tensor_pb2.TensorProto()
    pack(proto, array)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    np.testing.assert_array_equal(unpack(proto, "here"), array)


def test_values_in_typed_fields_are_read_too():
    for array in (np.array([[1, 65535]], np.uint16), np.array([0.25, -2], np.float32)):
        proto = tf.make_tensor_proto(array)
        proto.tensor_content = b""
        if array.dtype == np.float32:
            proto.float_val[:] = array
        np.testing.assert_array_equal(unpack(proto, "here"), array)


def test_uint16_takes_two_bytes_a_value_and_is_quick():
    array = np.full((1, 256, 256, 13), 40_000, np.uint16)
    proto = tensor_pb2.TensorProto()
    pack(proto, array)
    assert array.nbytes < proto.ByteSize() < array.nbytes + 40


def test_values_of_big_endian_arrays_are_swapped():
    assert little_endian(np.array([1, 2], ">u2")) == b"\x01\x00\x02\x00"


@pytest.mark.parametrize("keep", [1, 5, 40])
def test_a_cut_tensor_is_named(keep):
    whole = tf.io.serialize_tensor(tf.range(100, dtype=tf.float32)).numpy()
    with pytest.raises(ServerError, match="not a whole tensor"):
        parse_tensor(whole[:keep])


def test_a_number_without_an_end_is_refused_as_by_protobuf():
    # Field 3, its version; a number of 64 bits takes ten bytes at most.
    endless = tf.io.serialize_tensor(tf.range(3)).numpy() + b"\x18" + b"\x80" * 10 + b"\x00"
    with pytest.raises(DecodeError):
        tensor_pb2.TensorProto.FromString(endless)
    with pytest.raises(ServerError, match="a number does not end"):
        parse_tensor(endless)


def test_too_few_values_are_named():
    proto = tensor_pb2.TensorProto()
    pack(proto, np.zeros((2, 3), np.float32))
    proto.tensor_shape.dim[0].size = 4
    with pytest.raises(ServerError, match="there answered with a broken tensor"):
        unpack(proto, "there")
