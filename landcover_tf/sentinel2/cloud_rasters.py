"""Cloud masks of the user's: which raster is a product's, and its classes on the 60 m grid."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.rasters import raster_windows
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
    grid = product.grids[60]
    codes, known, crs, transform = _read_mask_codes(path, values)

    def on_grid(marked: np.ndarray, resampling: Resampling = Resampling.max) -> np.ndarray:
        target = np.zeros(grid.shape, np.uint8)
        reproject(
            marked * np.uint8(255),
            target,
            src_transform=transform,
            src_crs=crs,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            resampling=resampling,
        )
        return target

    # The maximum would hide pixels without data that are smaller than 60 m.
    covered = on_grid(known, Resampling.average)
    if not covered.any():
        raise RasterError(
            f"the cloud mask {path} does not overlap {product.name} or has only no data there"
        )
    found = {
        name: on_grid(np.isin(codes, [v for v, n in values.items() if n == name])) != 0
        for name in CLOUD_CLASSES
        if name != "clear"
    }
    return CloudMask(
        opaque=found["cloud"],
        cirrus=found["cirrus"],
        snow=found["snow"],
        shadow=found["shadow"] if "shadow" in values.values() else None,
        covered_fraction=float(covered.mean() / 255),
    )


def _read_mask_codes(
    path: Path, values: Mapping[int, str]
) -> tuple[np.ndarray, np.ndarray, CRS, Affine]:
    """Returns a mask's codes [rows, cols], which of them have a class, its CRS and transform.

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
        codes, nodata = dataset.read(1), dataset.nodata
        crs, transform = dataset.crs, dataset.transform
    unknown = sorted(int(v) for v in np.unique(codes) if int(v) not in values and v != nodata)
    if unknown:
        raise RasterError(
            f"{path} has values {unknown} that --cloud-mask-values does not name; known are "
            f"{sorted(values)}"
        )
    known = np.isin(codes, list(values))
    return codes, known, crs, transform
