"""Arrays as TensorProto bytes, read and written without TensorFlow.

Wire format: tensorflow/core/framework/tensor.proto and tensor_shape.proto. Only the form that
holds raw little-endian values (`tensor_content`) is read, which `tf.io.serialize_tensor` writes.
"""

from collections.abc import Iterator

import numpy as np

from landcover_tf.errors import ServerError

# tensorflow/core/framework/types.proto
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64",
          17: "uint16"}  # fmt: skip
DTYPE_NUMBERS = {name: number for number, name in DTYPES.items()}


def little_endian(array: np.ndarray) -> bytes:
    """Returns the raw values of an array, row by row, least significant byte first."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def parse_tensor(serialized: bytes) -> np.ndarray:
    """Returns the array in a serialized TensorProto.

    Raises:
        ServerError: The bytes are cut short, or are not a tensor of numbers.
    """
    try:
        number, shape = 0, list[int]()
        content: bytes | memoryview = b""
        for field, value in _fields(memoryview(serialized)):
            if field == 1 and isinstance(value, int):
                number = value
            elif field == 2 and not isinstance(value, int):
                shape = [_size(dim) for key, dim in _fields(value) if key == 2]
            elif field == 4 and not isinstance(value, int):
                content = value
        dtype = np.dtype(DTYPES[number]).newbyteorder("<")
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise ServerError(f"the server's answer is not a whole tensor: {error!r}") from error


def _size(dim: memoryview | int) -> int:
    if isinstance(dim, int):
        raise TypeError("a dimension is a message")
    return next((v for key, v in _fields(dim) if key == 1 and isinstance(v, int)), 0)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields (field number, varint or bytes) of a protocol buffer message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        value, position = _varint(message, position)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2:
            if position + value > len(message):
                raise IndexError(f"{value} bytes announced, {len(message) - position} there")
            yield key >> 3, message[position : position + value]
            position += value
        else:
            raise ValueError(f"unexpected wire type {key & 7}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
