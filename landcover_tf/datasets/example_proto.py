"""The wire format of tf.train.Example, written and read without TensorFlow.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }
    message Feature   { oneof kind { BytesList bytes_list = 1; Int64List int64_list = 3; } }
    message BytesList { repeated bytes value = 1; }
    message Int64List { repeated int64 value = 1 [packed = true]; }

A process that only writes or checks records then starts in a fraction of a second instead of
several, and a patch of megabytes is copied once instead of three times. Encoding:
https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""
BYTES_LIST, INT64_LIST = 1, 3
"""Field numbers in Feature."""

_ONE_BYTE = [bytes([value]) for value in range(128)]

Value = bytes | Sequence[int]


def encode_example(features: Mapping[str, Value]) -> list[bytes]:
    """Returns a serialized Example in parts, so that values of megabytes need not be copied.

    Args:
        features: A bytes value, or integers of 64 bits, by name; they keep their order.
    """
    entries: list[bytes] = []
    for name, value in features.items():
        entries += _message(1, [*_message(1, [name.encode()]), *_message(2, _feature(value))])
    return _message(1, entries)


def example_bytes(entries: Iterable[int]) -> int:
    """Returns the length of a serialized Example, given `entry_bytes` of each of its features."""
    return _message_bytes(sum(entries))


def entry_bytes(name: str, value: int | Sequence[int]) -> int:
    """Returns what a feature adds to an Example, without making it.

    Args:
        name: Name of the feature.
        value: Length of a bytes value, or integers of 64 bits.
    """
    content = value if isinstance(value, int) else sum(map(_varint_bytes, value))
    feature = _message_bytes(_message_bytes(content))
    return _message_bytes(_message_bytes(len(name.encode())) + _message_bytes(feature))


def decode_example(serialized: bytes) -> dict[str, bytes | list[int]]:
    """Returns the features of a serialized Example.

    Raises:
        ValueError: The bytes are no Example, or a feature is not one bytes value or integers.
    """
    features: dict[str, bytes | list[int]] = {}
    for message in _messages(memoryview(serialized), 1):
        for entry in _messages(message, 1):
            parts = dict(fields(entry))
            name, value = parts.get(1, b""), parts.get(2, b"")
            if isinstance(name, int) or isinstance(value, int):
                raise ValueError("a feature has no name or no value")
            features[bytes(name).decode()] = _value(memoryview(value))
    return features


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and the content of each field of a protocol buffer message.

    Content is a varint or a part of `message`, which is not copied.

    Raises:
        ValueError: The message is cut short, or has a field of an unknown wire type.
    """
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, value
            continue
        if kind == LENGTH:
            length, position = _read_varint(message, position)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position + length > len(message):
            raise ValueError("a field is longer than its message")
        yield tag >> 3, message[position : position + length]
        position += length


def _feature(value: Value) -> list[bytes]:
    if isinstance(value, bytes):
        return _message(BYTES_LIST, _message(1, [value]))
    return _message(INT64_LIST, _message(1, [b"".join(map(_varint, value))]))


def _message(number: int, parts: list[bytes]) -> list[bytes]:
    """Returns the parts of a length-delimited field; nothing is joined, so nothing is copied."""
    return [_varint(number << 3 | LENGTH) + _varint(sum(map(len, parts))), *parts]


def _message_bytes(length: int) -> int:
    """Returns the length of `_message` of so many bytes; all tags here are one byte."""
    return 1 + _varint_bytes(length) + length


def _varint_bytes(value: int) -> int:
    return 10 if value < 0 else max(-(-value.bit_length() // 7), 1)


def _varint(value: int) -> bytes:
    if 0 <= value <= 0x7F:  # Tags and most lengths.
        return _ONE_BYTE[value]
    value &= 2**64 - 1  # Negative numbers are written in two's complement.
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _value(feature: memoryview) -> bytes | list[int]:
    for number, content in fields(feature):
        if isinstance(content, int):
            break
        if number == BYTES_LIST:
            values = list(_messages(content, 1))
            if len(values) != 1:
                raise ValueError(f"expected one bytes value, got {len(values)}")
            return bytes(values[0])
        if number == INT64_LIST:
            return [number for _, packed in fields(content) for number in _integers(packed)]
    raise ValueError("expected a feature of bytes or integers")


def _integers(packed: int | memoryview) -> list[int]:
    if isinstance(packed, int):
        return [_signed(packed)]
    values, position = [], 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, content in fields(message):
        if number == wanted and not isinstance(content, int):
            yield content


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns the number at a position and where the next one begins."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise ValueError("a number does not end")
