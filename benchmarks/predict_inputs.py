"""The input of `benchmarks.predict`: random scenes, an empty tile, and an export."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

TILE_PX = 10980
"""Rows and columns of a Sentinel-2 tile at 10 m."""


def make_scene(work_dir: Path, height: int, width: int) -> Path:
    """Returns a prepared-like GeoTIFF of smooth random reflectances with a no-data edge."""
    import rasterio
    from rasterio import Affine
    from rasterio.windows import Window
    from scipy import ndimage

    from landcover_tf.bands import BAND_NAMES

    path = work_dir / f"scene_{height}x{width}.tif"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(512, width)).astype(np.float32), 6)
    smooth *= 600 / smooth.std()
    temporary = path.with_suffix(".part.tif")
    with rasterio.open(
        temporary,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=13,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32634",
        transform=Affine(10, 0, 600_000, 0, -10, 4_200_000),
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="zstd",
        zstd_level=1,
        predictor=2,
        bigtiff="if_safer",
    ) as dataset:
        dataset.descriptions = BAND_NAMES
        dataset.scales, dataset.offsets = (1e-4,) * 13, (-0.1,) * 13
        for row in range(0, height, 512):
            rows = min(512, height - row)
            for band in range(13):
                field = np.roll(smooth, (37 * band, row), axis=(1, 0))[:rows]
                values = field + 2500 + rng.normal(0, 50, field.shape)
                values = np.clip(values, 1001, 9000).astype(np.uint16)
                values[:, : width // 50] = 0
                dataset.write(values, band + 1, window=Window(0, row, width, rows))
    temporary.replace(path)
    return path


def make_empty_tile(work_dir: Path) -> Path:
    """Returns a raster of a full tile without a single block, of which the windows can be laid.

    It has strips of all columns, as what is decoded of a product has.
    """
    import rasterio

    from landcover_tf.bands import BAND_NAMES

    path = work_dir / "empty_tile.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=TILE_PX,
        width=TILE_PX,
        count=13,
        dtype="uint16",
        crs="EPSG:32634",
        transform=rasterio.Affine(10, 0, 600_000, 0, -10, 4_200_000),
        interleave="band",
        bigtiff="yes",
        sparse_ok=True,
    ) as dataset:
        dataset.descriptions = BAND_NAMES
        dataset.scales, dataset.offsets = (1e-4,) * 13, (-0.1,) * 13
    return path


def make_export(work_dir: Path, encoder: str, formats: Iterable[str]) -> Path:
    """Returns an export of an untrained U-Net for 13 bands, written if it is not there yet."""
    folder = work_dir / "-".join([encoder, *formats]) / "landcover" / "1"
    if folder.is_dir():
        return folder
    import keras

    from landcover_tf.bands import BAND_NAMES
    from landcover_tf.datasets.dataset_info import BandInfo
    from landcover_tf.datasets.normalizer import Normalizer
    from landcover_tf.exporting.saved_model import write_export
    from landcover_tf.legend import load_legend
    from landcover_tf.model_info import ModelInfo
    from landcover_tf.model_spec import ModelSpec
    from landcover_tf.models.receptive_field import receptive_field
    from landcover_tf.models.unet import build_unet

    keras.utils.set_random_seed(0)
    legend, n = load_legend("landcover9"), len(BAND_NAMES)
    normalizer = Normalizer(
        kind="standardize",
        bands=BAND_NAMES,
        clip_min=(-1.0,) * n,
        clip_max=(2.0,) * n,
        shift=(0.15,) * n,
        factor=(8.0,) * n,
    )
    network = build_unet(
        ModelSpec(
            encoder=encoder,
            band_names=BAND_NAMES,
            class_codes=legend.codes,
            normalizer=normalizer,
        )
    )
    field = receptive_field(network)
    info = ModelInfo(
        name="landcover",
        version=1,
        bands=tuple(BandInfo(name=b, scale=1e-4, offset=-0.1) for b in BAND_NAMES),
        dtype="uint16",
        nodata=0,
        resolution_m=10.0,
        legend=legend,
        class_codes=legend.codes,
        patch_size=256,
        size_multiple=field.stride_px,
        receptive_field_px=field.field_px,
        margin_px=field.margin_px,
        encoder=encoder,
        normalizer=normalizer.to_dict(),
    )
    images = np.random.default_rng(0).integers(1000, 5000, (1, 64, 64, n)).astype(np.uint16)
    write_export(network, info, folder, check_images=images, formats=tuple(formats))
    return folder
