"""Small image/label pairs, the flags of a small build, and what it leaves."""

import hashlib
import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from landcover_tf.datasets.dataset_info import ProductInfo
from tfrecords_builder.__main__ import main
from tfrecords_builder.sources import Source

CODES = np.array([10, 20, 30, 40, 60], np.uint8)
BANDS = ("B02", "B03", "B04", "B08")


def write_raster(path: Path, values: np.ndarray, **profile) -> Path:
    """Writes [bands, height, width] or [height, width] as GeoTIFF."""
    values = values if values.ndim == 3 else values[None]
    descriptions = profile.pop("descriptions", None)
    scaling = profile.pop("scaling", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        **profile,
    ) as raster:
        raster.write(values)
        if descriptions:
            raster.descriptions = descriptions
        if scaling:
            raster.scales = (scaling[0],) * len(values)
            raster.offsets = (scaling[1],) * len(values)
    return path


def write_source(folder, image, label, *, validity=None, image_profile=None, label_profile=None):
    """Writes the rasters of one source and returns it."""
    return Source(
        id="x",
        image=write_raster(folder / "x.tif", image, **(image_profile or {})),
        label=write_raster(folder / "l.tif", label, **(label_profile or {})),
        validity=None if validity is None else write_raster(folder / "v.tif", validity),
        product=ProductInfo(id="x", path="x.tif"),
    )


def write_pairs(folder: Path, *, scenes: int = 3, size: int = 200, seed: int = 0) -> Path:
    """Writes scenes side by side in UTM 33N: patches of classes with values that tell them."""
    random = np.random.default_rng(seed)
    for number in range(scenes):
        cells = random.integers(0, len(CODES), (size // 20 + 1,) * 2)
        label = CODES[cells].repeat(20, 0).repeat(20, 1)[:size, :size]
        image = random.integers(1200, 2000, (4, size, size)) + 20 * label[None].astype(int)
        image[:, :20, :30] = 0
        grid = {
            "crs": "EPSG:32633",
            "transform": from_origin(600000 + number * size * 10, 5_000_000, 10, 10),
        }
        write_raster(
            folder / "images" / f"s{number}.tif",
            image.astype(np.uint16),
            nodata=0,
            descriptions=BANDS,
            scaling=(1e-4, -0.1),
            **grid,
        )
        write_raster(folder / "labels" / f"s{number}.tif", label, nodata=0, **grid)
    return folder


def arguments(data: Path, output: Path, *more: object) -> list[str]:
    """Returns flags for 32 px patches in blocks of 40 pixels and small shards."""
    return [
        *("--data-dir", str(data), "--output-dir", str(output)),
        *("--patch-size", "32", "--patch-overlap", "8", "--block-size-m", "400"),
        *("--shard-size-mb", "0.2", "--jobs", "1"),
        *map(str, more),
    ]


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file but the config, which names the output folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != "config.json"
    }


def described(folder: Path) -> dict:
    """dataset.json without the name."""
    values = json.loads((folder / "dataset.json").read_text())
    values.pop("name")
    return values


def rewrite(path, change, **profile_changes):
    """Gives a raster the pixels that `change` makes of its own, [bands, height, width]."""
    with rasterio.open(path) as raster:
        values, profile = raster.read(), raster.profile
        descriptions, scales, offsets = raster.descriptions, raster.scales, raster.offsets
    values = change(values)
    profile.update(dtype=values.dtype, count=len(values), **profile_changes)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values)
        raster.descriptions = descriptions[: len(values)]
        raster.scales, raster.offsets = scales[: len(values)], offsets[: len(values)]


def label_of(folder, number):
    """Returns the label codes of a scene of `write_pairs`, [height, width]."""
    with rasterio.open(folder / "labels" / f"s{number}.tif") as raster:
        return raster.read(1)


def fails(folder, tmp_path, capsys, *more):
    """Returns the one error message of a build that must fail and leave nothing finished."""
    assert main(arguments(folder, tmp_path / "o", *more)) == 2
    assert not (tmp_path / "o").exists()
    return capsys.readouterr().err
