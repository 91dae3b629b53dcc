"""Cloud masks of the user's: which raster is a product's, and its classes on the 60 m grid."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling
from rasterio.warp import reproject

from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.rasters import raster_windows
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2 import resample
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.product import SafeProduct

CLOUD_CLASSES = ("clear", "cloud", "cirrus", "shadow", "snow")


def parse_values(pairs: Sequence[str]) -> dict[int, str]:
    """Returns the class of each mask value from texts like `1=cloud`.

    Raises:
        ConfigError: A text has another form, names no cloud class or repeats a value.
    """
    values: dict[int, str] = {}
    for pair in pairs:
        code, _, name = pair.partition("=")
        if not re.fullmatch("-?[0-9]{1,18}", code.strip()) or name not in CLOUD_CLASSES:
            raise ConfigError(
                f"--cloud-mask-values: expected VALUE=NAME with NAME one of "
                f"{', '.join(CLOUD_CLASSES)}; got {pair!r}"
            )
        if int(code) in values:
            raise ConfigError(f"--cloud-mask-values names value {int(code)} twice")
        values[int(code)] = name
    return values


def mask_of(path: Path, product: SafeProduct) -> Path:
    """Returns the cloud mask file of a product: the file itself, or PRODUCT_NAME.tif in a folder.

    Raises:
        RasterError: The folder has none.
    """
    if not path.is_dir():
        return path
    candidate = path / f"{product.name}.tif"
    if not candidate.is_file():
        raise RasterError(f"{path} has no cloud mask {candidate.name}")
    return candidate


def read_cloud_mask(path: Path, product: SafeProduct, values: Mapping[int, str]) -> CloudMask:
    """Returns a cloud mask raster on the product's 60 m grid.

    A 60 m pixel has a class if any part of it has (maximum, never an average). Where the raster
    declares no data, it does not cover the product.

    Args:
        path: One-band raster of class values in any CRS.
        product: The product it belongs to.
        values: Class name of each value, from `parse_values`.

    Raises:
        RasterError: The raster is unreadable, has no CRS, several bands or no integers, does not
            cover any of the product, or holds a value that is not in `values`.
    """
    codes, known, source = _read_mask_codes(path, values)
    # The maximum would hide pixels without data that are smaller than 60 m.
    covered = _on_grid(known, source, product, Resampling.average)
    if not covered.any():
        raise RasterError(
            f"the cloud mask {path} does not overlap {product.name} or has only no data there"
        )

    def any_of(name: str) -> np.ndarray:
        marked = _is_one_of(codes, [v for v, n in values.items() if n == name])
        return np.asarray(_on_grid(marked, source, product, Resampling.max) != 0)

    found = {name: any_of(name) for name in CLOUD_CLASSES if name != "clear"}
    return CloudMask(
        opaque=found["cloud"],
        cirrus=found["cirrus"],
        snow=found["snow"],
        shadow=found["shadow"] if "shadow" in values.values() else None,
        covered_fraction=float(covered.mean() / 255),
    )


def _on_grid(
    marked: np.ndarray, source: RasterGrid, product: SafeProduct, resampling: Resampling
) -> np.ndarray:
    """Returns marks on the product's 60 m grid, uint8: 255 where all that counts is marked."""
    grid = product.grids[60]
    fine = product.grids.get(10)
    if fine is not None and source.same_pixels(fine):
        # As most masks are; GDAL's warp takes seconds for each class.
        if resampling == Resampling.average:
            return np.asarray(np.rint(resample.block_mean(marked, 6) * 255), np.uint8)
        blocks = marked.reshape(grid.height, 6, grid.width, 6)
        return np.where(blocks.any(axis=1).any(axis=-1), np.uint8(255), np.uint8(0))
    target = np.zeros(grid.shape, np.uint8)
    reproject(
        marked * np.uint8(255),
        target,
        src_transform=source.transform,
        src_crs=source.crs,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        resampling=resampling,
    )
    return target


def _is_one_of(codes: np.ndarray, wanted: Collection[int]) -> np.ndarray:
    """Returns where codes are among others, bool of their shape."""
    if codes.dtype != np.uint8:
        return np.isin(codes, list(wanted))
    table = np.zeros(256, bool)  # NumPy's way takes eight bytes a pixel.
    table[[code for code in wanted if 0 <= code < 256]] = True
    return np.asarray(table[codes])


def _read_mask_codes(
    path: Path, values: Mapping[int, str]
) -> tuple[np.ndarray, np.ndarray, RasterGrid]:
    """Returns a mask's codes [rows, cols], which of them have a class, and its grid.

    The declared no-data value has none, unless `values` names it.
    """
    with raster_windows.opened(path, "the cloud mask") as dataset:
        if dataset.crs is None:
            raise RasterError(f"{path} has no CRS; a cloud mask must be georeferenced")
        if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in "iu":
            raise RasterError(
                f"{path} has {dataset.count} band(s) of {dataset.dtypes[0]}; a cloud mask has one, "
                "of whole class numbers"
            )
        codes, nodata, source = dataset.read(1), dataset.nodata, RasterGrid.of(dataset)
    known = _is_one_of(codes, list(values))
    others = np.unique(codes[~known])
    unknown = sorted(int(v) for v in others if v != nodata)
    if unknown:
        raise RasterError(
            f"{path} has values {unknown} that --cloud-mask-values does not name; known are "
            f"{sorted(values)}"
        )
    return codes, known, source
