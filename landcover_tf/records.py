"""Record schema v1: one patch as a tf.train.Example, encode and parse side by side.

Rasters are raw little-endian bytes: int64 lists would take up to eight times the space, and
`tf.io.serialize_tensor` would tie readers to TensorFlow without being faster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from landcover_tf.errors import DatasetError
from landcover_tf.grid import Window


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """What one record holds."""

    image: np.ndarray
    """Stored values, [size, size, bands], the dataset's dtype."""
    label: np.ndarray
    """Legend codes, uint8 [size, size]; the no-data code where unknown."""
    validity: np.ndarray
    """Validity bits, uint8 [size, size]; 0 is a clear pixel."""
    key: str
    """Unique name within the dataset."""
    product: str
    """Id of the product or raster it was cut from."""
    window: Window
    """Where in that raster; it may reach beyond the edge, where it is padded with no data."""
    crs: str
    """Coordinate reference system as EPSG:n or WKT; empty when the raster has none."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f of the patch's own upper-left corner."""
    band_names: tuple[str, ...]

    def __post_init__(self) -> None:
        height, width = self.image.shape[:2]
        if self.image.shape != (height, width, len(self.band_names)):
            raise ValueError(
                f"patch {self.key}: image {self.image.shape} does not hold "
                f"{len(self.band_names)} bands"
            )
        for name in ("label", "validity"):
            array = getattr(self, name)
            if array.shape != (height, width) or array.dtype != np.uint8:
                raise ValueError(
                    f"patch {self.key}: {name} must be uint8 {(height, width)}, "
                    f"got {array.dtype} {array.shape}"
                )


def encode(patch: Patch) -> bytes:
    """Returns the serialized tf.train.Example of a patch; equal patches give equal bytes."""
    window = patch.window
    features = {
        "image": _bytes(_little_endian(patch.image)),
        "image_dtype": _bytes(patch.image.dtype.name.encode()),
        "image_shape": _ints(patch.image.shape),
        "label": _bytes(patch.label.tobytes()),
        "validity": _bytes(patch.validity.tobytes()),
        "key": _bytes(patch.key.encode()),
        "product": _bytes(patch.product.encode()),
        "window": _ints((window.row_off, window.col_off, window.height, window.width)),
        "crs": _bytes(patch.crs.encode()),
        # Text keeps all 64 bits; a float_list has 32.
        "transform": _bytes(",".join(map(repr, map(float, patch.transform))).encode()),
        "band_names": _bytes(",".join(patch.band_names).encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes, *, where: str = "record") -> Patch:
    """Returns the patch in one serialized record.

    Args:
        serialized: Bytes that `encode` made.
        where: Shard and position, for the error message.

    Raises:
        DatasetError: The bytes are not a record of this schema.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
        text = {
            name: feature[name].bytes_list.value[0].decode()
            for name in ("image_dtype", "key", "product", "crs", "transform", "band_names")
        }
        shape = tuple(feature["image_shape"].int64_list.value)
        row_off, col_off, height, width = feature["window"].int64_list.value
        dtype = np.dtype(text["image_dtype"]).newbyteorder("<")
        image = np.frombuffer(feature["image"].bytes_list.value[0], dtype).reshape(shape)
        label, validity = (
            np.frombuffer(feature[name].bytes_list.value[0], np.uint8).reshape(shape[:2])
            for name in ("label", "validity")
        )
        a, b, c, d, e, f = map(float, text["transform"].split(","))
        return Patch(
            image=image.astype(dtype.newbyteorder("=")),
            label=label.copy(),
            validity=validity.copy(),
            key=text["key"],
            product=text["product"],
            window=Window(row_off=row_off, col_off=col_off, height=height, width=width),
            crs=text["crs"],
            transform=(a, b, c, d, e, f),
            band_names=tuple(text["band_names"].split(",")),
        )
    except Exception as error:  # protobuf, numpy and struct each raise their own.
        raise DatasetError(f"{where} is not a record of schema version 1: {error}") from error


def parse(
    serialized: tf.Tensor, *, patch_size: int, bands: int, dtype: str
) -> dict[str, tf.Tensor]:
    """Returns the rasters and the key of one record or of a batch, in graph.

    Args:
        serialized: string scalar, or string [batch].
        patch_size: Height and width of the stored patches.
        bands: Number of stored bands.
        dtype: NumPy name of the stored image dtype.

    Returns:
        `image` [(batch,) size, size, bands] of `dtype`; `label` and `validity` uint8
        [(batch,) size, size]; `key` string [(batch)].
    """
    names = ("image", "label", "validity", "key")
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    parsed = tf.io.parse_example(serialized, features)
    leading = serialized.shape.as_list()
    batch = [-1 if size is None else size for size in leading]
    shapes = {"image": [patch_size, patch_size, bands]}
    result = {"key": parsed["key"]}
    for name in ("image", "label", "validity"):
        shape = shapes.get(name, [patch_size, patch_size])
        flat = tf.io.decode_raw(parsed[name], dtype if name == "image" else "uint8")
        result[name] = tf.ensure_shape(tf.reshape(flat, batch + shape), leading + shape)
    return result


@dataclass(frozen=True, kw_only=True)
class WrittenShard:
    """What `write_shard` wrote."""

    records: int
    bytes: int


def write_shard(
    path: str | Path, serialized: Iterable[bytes], *, compression: str = "none"
) -> WrittenShard:
    """Writes records to a TFRecord file and returns what was written.

    Args:
        path: The file; write to a temporary name and rename it yourself.
        serialized: Records in order.
        compression: `none` or `gzip`.
    """
    count = 0
    with tf.io.TFRecordWriter(str(path), options=compression_type(compression)) as writer:
        for record in serialized:
            writer.write(record)
            count += 1
    return WrittenShard(records=count, bytes=Path(path).stat().st_size)


def compression_type(compression: str) -> str:
    """Returns TensorFlow's name of a dataset's compression.

    Raises:
        DatasetError: It is neither `none` nor `gzip`.
    """
    try:
        return {"none": "", "gzip": "GZIP"}[compression]
    except KeyError:
        raise DatasetError(f"compression must be none or gzip, got {compression!r}") from None


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values: Iterable[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in values]))
