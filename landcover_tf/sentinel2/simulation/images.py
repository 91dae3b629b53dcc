"""Rasters of a product: lossless JPEG 2000 images and the label GeoTIFF."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from landcover_tf.legend import Legend
from landcover_tf.sentinel2.simulation.product import ProductIdentity
from landcover_tf.system.files import atomic_path

# Inner tiles of real products in px, by resolution.
_BLOCK_PX = {10: 1024, 20: 640, 60: 192, 320: 343}


def grid_transform(product: ProductIdentity, resolution_m: float) -> Affine:
    """Returns the transform of the product's grid; all grids share one corner."""
    return Affine(resolution_m, 0, product.tile.ulx, 0, -resolution_m, product.tile.uly)


def write_jp2(path: Path, values: np.ndarray, product: ProductIdentity, resolution_m: int) -> None:
    """Writes a raster without loss.

    Args:
        path: The .jp2 file.
        values: uint8 or uint16 [bands, height, width]; uint16 is declared as 15 bits, as in
            products of the ground segment.
        product: Gives the grid.
        resolution_m: Pixel size.
    """
    bands, height, width = values.shape
    block = _BLOCK_PX.get(resolution_m, 1024)
    options = {"NBITS": "15"} if values.dtype == np.uint16 else {}
    # Sidecar .aux.xml files are not part of a product.
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_NUM_THREADS="ALL_CPUS"),
        rasterio.open(
            path,
            "w",
            driver="JP2OpenJPEG",
            dtype=values.dtype,
            count=bands,
            height=height,
            width=width,
            crs=product.tile.crs,
            transform=grid_transform(product, resolution_m),
            QUALITY="100",
            REVERSIBLE="YES",
            YCBCR420="NO",
            # In small letters; rasterio passes over BLOCKXSIZE, and tiles get 1024 px in width.
            tiled=True,
            blockxsize=block,
            blockysize=block,
            **options,
        ) as target,
    ):
        target.write(values)


def write_labels(path: Path, codes: np.ndarray, product: ProductIdentity, legend: Legend) -> None:
    """Writes class codes (uint8 [height, width]) as a GeoTIFF with the legend's colours."""
    with (
        atomic_path(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            dtype="uint8",
            count=1,
            height=codes.shape[0],
            width=codes.shape[1],
            crs=product.tile.crs,
            transform=grid_transform(product, 10),
            nodata=legend.nodata,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
        ) as target,
    ):
        target.write(codes, 1)
        target.write_colormap(1, legend.colormap())
        target.update_tags(legend=legend.name, product=product.name, simulated="yes")
        target.set_band_description(1, "land cover")
