"""Record schema v1: one patch as a tf.train.Example, encode and parse side by side.

Rasters are raw little-endian bytes: int64 lists would take up to eight times the space, and
`tf.io.serialize_tensor` would tie readers to TensorFlow without being faster. Only `parse`, which
runs in the graph of an input pipeline, imports TensorFlow.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from landcover_tf.datasets.dataset_info import FeatureInfo
from landcover_tf.datasets.example_proto import (
    decode_example,
    encode_example,
    entry_bytes,
    example_bytes,
)
from landcover_tf.errors import DatasetError
from landcover_tf.grid import Window

if TYPE_CHECKING:
    import tensorflow as tf

TEXTS = ("image_dtype", "key", "product", "crs", "transform", "band_names")
"""Features that hold text."""


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
        if any("," in name for name in self.band_names):
            raise ValueError(f"patch {self.key}: a band name has a comma: {self.band_names}")
        for name in ("label", "validity"):
            array = getattr(self, name)
            if array.shape != (height, width) or array.dtype != np.uint8:
                raise ValueError(
                    f"patch {self.key}: {name} must be uint8 {(height, width)}, "
                    f"got {array.dtype} {array.shape}"
                )


def encode(patch: Patch) -> bytes:
    """Returns the serialized tf.train.Example of a patch; equal patches give equal bytes."""
    return b"".join(encode_parts(patch))


def encode_parts(patch: Patch) -> list[bytes]:
    """Returns what `encode` does in parts, which spares a copy of the image."""
    image = patch.image.astype(patch.image.dtype.newbyteorder("<"), copy=False)
    return _parts(patch, image.tobytes(), patch.label.tobytes(), patch.validity.tobytes())


def encoded_bytes(
    *,
    key: str,
    product: str,
    window: Window,
    crs: str,
    transform: tuple[float, float, float, float, float, float],
    band_names: tuple[str, ...],
    dtype: str,
) -> int:
    """Returns the length of a patch's record, which does not depend on its pixels.

    Args:
        dtype: NumPy name of the image's dtype; the others are those of `Patch`.
    """
    own = (
        entry_bytes("key", len(key.encode())),
        entry_bytes("transform", len(_numbers(transform))),
        entry_bytes("window", (window.row_off, window.col_off, window.height, window.width)),
    )
    return example_bytes(
        [_common_bytes(window.height, window.width, product, crs, band_names, dtype), *own]
    )


@lru_cache(maxsize=8)
def _common_bytes(
    height: int, width: int, product: str, crs: str, band_names: tuple[str, ...], dtype: str
) -> int:
    """Returns what the features that all patches of a raster share add to a record."""
    pixels, bands = height * width, len(band_names)
    sizes: dict[str, int | tuple[int, ...]] = {
        "band_names": len(",".join(band_names).encode()),
        "crs": len(crs.encode()),
        "image_dtype": len(dtype),
        "image_shape": (height, width, bands),
        "image": pixels * bands * np.dtype(dtype).itemsize,
        "label": pixels,
        "product": len(product.encode()),
        "validity": pixels,
    }
    return sum(entry_bytes(name, size) for name, size in sizes.items())


def _parts(patch: Patch, image: bytes, label: bytes, validity: bytes) -> list[bytes]:
    window = patch.window
    return encode_example(
        {
            # The order is part of the bytes, and so of every shard's checksum.
            "band_names": ",".join(patch.band_names).encode(),
            "crs": patch.crs.encode(),
            "image_dtype": patch.image.dtype.name.encode(),
            "image_shape": patch.image.shape,
            "image": image,
            "key": patch.key.encode(),
            "label": label,
            "product": patch.product.encode(),
            # Text keeps all 64 bits; a float_list has 32.
            "transform": _numbers(patch.transform),
            "validity": validity,
            "window": (window.row_off, window.col_off, window.height, window.width),
        }
    )


def features(*, patch_size: int, bands: int, dtype: str) -> tuple[FeatureInfo, ...]:
    """Returns what a record holds, for `dataset.json`, in the order of `encode`."""
    size = (patch_size, patch_size)
    described: tuple[tuple[str, str, str, tuple[int, ...], str], ...] = (
        ("band_names", "bytes_list", "utf-8", (), "names of the bands, separated by commas"),
        ("crs", "bytes_list", "utf-8", (), "EPSG:n or WKT; empty where the raster has none"),
        ("image_dtype", "bytes_list", "utf-8", (), "NumPy name of the image's dtype"),
        ("image_shape", "int64_list", "int64", (3,), "rows, columns, bands of the image"),
        ("image", "bytes_list", dtype, (*size, bands), "stored values, raw, little-endian"),
        ("key", "bytes_list", "utf-8", (), "unique name of the patch"),
        ("label", "bytes_list", "uint8", size, "legend codes, raw; its no data is unlabelled"),
        ("product", "bytes_list", "utf-8", (), "product or raster that the patch was cut from"),
        ("transform", "bytes_list", "utf-8", (), "a,b,c,d,e,f: x = a col + b row + c, y = d col "
         "+ e row + f from the patch's upper left corner"),
        ("validity", "bytes_list", "uint8", size, "validity_bits, raw; 0 is a clear pixel"),
        ("window", "int64_list", "int64", (4,), "first row, first column, height and width in "
         "the raster; beyond its edge is no data"),
    )  # fmt: skip
    return tuple(
        FeatureInfo(name=name, type=kind, dtype=values, shape=shape, meaning=meaning)
        for name, kind, values, shape, meaning in described
    )


def decode(serialized: bytes, *, where: str = "record") -> Patch:
    """Returns the patch in one serialized record.

    Args:
        serialized: Bytes that `encode` made.
        where: Shard and position, for the error message.

    Raises:
        DatasetError: The bytes are not a record of this schema.
    """
    try:
        feature = decode_example(serialized)
        text = {name: bytes(feature[name]).decode() for name in TEXTS}
        shape = tuple(feature["image_shape"])
        row_off, col_off, height, width = feature["window"]
        dtype = np.dtype(text["image_dtype"]).newbyteorder("<")
        image = np.frombuffer(bytes(feature["image"]), dtype).reshape(shape)
        label, validity = (
            np.frombuffer(bytes(feature[name]), np.uint8).reshape(shape[:2])
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
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{where} is not a record of schema version 1: {error}") from error


def parse(
    serialized: "tf.Tensor", *, patch_size: int, bands: int, dtype: str
) -> "dict[str, tf.Tensor]":
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
    import tensorflow as tf

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


def _numbers(transform: tuple[float, ...]) -> bytes:
    return ",".join(map(repr, map(float, transform))).encode()
