"""Products of 240 pixels and the program that prepares them."""

import numpy as np
import rasterio
from fakes.tiny_safe import ULX, ULY, write_safe
from rasterio.transform import Affine

from landcover_tf import prepare

SIZE = 240
NO_CLOUDS = {"MSK_CLASSI_B00.jp2": np.zeros((3, 40, 40), np.uint8)}


def run(source, output, *flags):
    return prepare.main(
        ["--sentinel2-dir", str(source), "--output-dir", str(output), *map(str, flags)]
    )


def product(parent, **options):
    return write_safe(parent, size_px=SIZE, **{"masks": NO_CLOUDS} | options)


def three_tiles(parent):
    """Returns the folder after writing products of three tiles into it."""
    for tile in ("34SEH", "34SEJ", "34SFH"):
        product(parent, tile=tile)
    return parent


def write_labels(path, codes, crs="EPSG:32634", transform=None):
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype="uint8", crs=crs, transform=transform or Affine(10, 0, ULX, 0, -10, ULY),
    ) as dataset:  # fmt: skip
        dataset.write(codes.astype(np.uint8), 1)
    return path
