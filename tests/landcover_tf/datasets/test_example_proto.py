import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.datasets.example_proto import decode_example, encode_example

VALUES = st.binary(max_size=300) | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1)


def joined(features):
    return b"".join(encode_example(features))


def with_tensorflow(features):
    """Returns the same Example made by protobuf's own code."""
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                if isinstance(value, bytes)
                else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in features.items()
            }
        )
    )


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=6))
def test_tensorflow_reads_what_we_write_and_the_other_way_round(features):
    expected = with_tensorflow(features)
    assert tf.train.Example.FromString(joined(features)) == expected
    assert decode_example(expected.SerializeToString()) == features


def test_one_feature_gives_the_bytes_of_tensorflow():
    for features in ({"image": bytes(70_000)}, {"window": (-1, 0, 300, 2**40)}):
        assert joined(features) == with_tensorflow(features).SerializeToString()


def test_integers_that_are_not_packed_are_read():
    # Example > features > feature "n" > int64_list > value 5, then value 300.
    integers = bytes([0x08, 5, 0x08, 0xAC, 0x02])
    feature = bytes([0x1A, len(integers)]) + integers
    entry = b"\x0a\x01n\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    assert decode_example(b"\x0a" + bytes([len(features)]) + features) == {"n": [5, 300]}


@pytest.mark.parametrize(
    ("serialized", "message"),
    [
        (b"\x0a\x05abc", "longer than its message"),
        (b"\x0a\xff\xff", "a number does not end"),
        (b"\x0b", "unknown wire type 3"),
        (
            with_tensorflow({"x": b""}).SerializeToString()[:-4] + b"\x12\x02\x12\x00",
            "bytes or int",
        ),
    ],
)
def test_damaged_bytes_are_refused(serialized, message):
    with pytest.raises(ValueError, match=message):
        decode_example(serialized)


def test_several_values_are_refused():
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a", b"b"]))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    with pytest.raises(ValueError, match="expected one bytes value, got 2"):
        decode_example(example.SerializeToString())
