"""Arrays as TensorProto bytes, read and written without TensorFlow.

Wire format: tensorflow/core/framework/tensor.proto and tensor_shape.proto. Only the form that
holds raw little-endian values (`tensor_content`) is read, which `tf.io.serialize_tensor` writes.
"""

import numpy as np

from landcover_tf.datasets.example_proto import fields
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
        for field, value in fields(memoryview(serialized)):
            if field == 1 and isinstance(value, int):
                number = value
            elif field == 2 and not isinstance(value, int):
                shape = [_size(dim) for key, dim in fields(value) if key == 2]
            elif field == 4 and not isinstance(value, int):
                content = value
        dtype = np.dtype(DTYPES[number]).newbyteorder("<")
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (KeyError, ValueError, TypeError) as error:
        raise ServerError(f"the server's answer is not a whole tensor: {error!r}") from error


def _size(dim: memoryview | int) -> int:
    if isinstance(dim, int):
        raise TypeError("a dimension is a message")
    return next((v for key, v in fields(dim) if key == 1 and isinstance(v, int)), 0)
