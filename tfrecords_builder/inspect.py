"""Opens any record: `python -m tfrecords_builder.inspect DATASET --key K --to-geotiff out.tif`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rasterio
import tyro
from rasterio.crs import CRS
from rasterio.io import DatasetWriter
from rasterio.transform import Affine

from landcover_tf.configs import cli
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry, read_index
from landcover_tf.datasets.records import Patch
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.system.files import atomic_path, require_new
from tfrecords_builder.rasters import without_georeference_warning
from tfrecords_builder.reading import record_at


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Lists the records of a dataset, or opens one as GeoTIFF and picture.

    The GeoTIFF has the bands' names, scales and no-data value; labels and validity are written
    beside it as NAME.label.tif (with the legend's colours) and NAME.validity.tif.
    """

    data_dir: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json; also as --data-dir."""
    key: str | None = None
    """Key of the record; without it, records are listed."""
    to_geotiff: Path | None = None
    """GeoTIFF to write."""
    png: Path | None = None
    """Picture to write: image, labels, validity."""
    split: str | None = None
    """List only this split."""
    limit: int = 20
    """Most records to list."""
    overwrite: bool = False
    """Replace files that are there."""

    def __post_init__(self) -> None:
        if self.to_geotiff and self.to_geotiff.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"--to-geotiff must end in .tif, got {self.to_geotiff}")
        if self.png and self.png.suffix.lower() != ".png":
            raise ConfigError(f"--png must end in .png, got {self.png}")


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of a look at a dataset."""
    return cli.run(InspectConfig, _program, argv, prog="landcover inspect")


def find_patch(folder: Path, info: DatasetInfo, key: str) -> "tuple[PatchEntry, Patch]":
    """Returns a record by its key, and what the index says of it.

    Raises:
        DatasetError: There is no such key, or the index is not of these shards.
    """
    entries = read_index(folder)
    entry = next((entry for entry in entries if entry.key == key), None)
    if entry is None:
        example = f"; a key looks like {entries[0].key}" if entries else ""
        raise DatasetError(f"dataset {folder} has no record {key!r}{example}")
    patch = record_at(folder, info, entry.shard, entry.position)
    if patch.key != key:
        raise DatasetError(
            f"shard {entry.shard}, record {entry.position}, is {patch.key!r} but the index says "
            f"{key!r}; build the dataset again"
        )
    return entry, patch


def write_geotiffs(patch: Patch, info: DatasetInfo, path: Path) -> list[Path]:
    """Writes image, labels and validity of a record and returns their paths."""
    _, label_path, validity_path = written = _geotiffs(path)
    with _created(path, patch, patch.image) as raster:
        raster.nodata = info.nodata
        raster.write(patch.image.transpose(2, 0, 1))
        raster.descriptions = patch.band_names
        raster.scales, raster.offsets = info.scale, info.offset
        raster.update_tags(key=patch.key, product=patch.product, dataset=info.name)
    with _created(label_path, patch, patch.label[..., None]) as raster:
        raster.nodata = info.legend.nodata
        raster.write(patch.label, 1)
        raster.write_colormap(1, info.legend.colormap())
    with _created(validity_path, patch, patch.validity[..., None]) as raster:
        raster.write(patch.validity, 1)
    return written


def _geotiffs(path: Path) -> list[Path]:
    return [path, *(path.with_name(f"{path.stem}.{what}.tif") for what in ("label", "validity"))]


def write_picture(patch: Patch, info: DatasetInfo, path: Path) -> None:
    """Writes image, labels and usable pixels side by side as PNG."""
    from landcover_tf.validity import ValidityBit, has_bit
    from landcover_tf.visuals.figures import save_panels
    from landcover_tf.visuals.pictures import class_picture, composite

    has_data = ~has_bit(patch.validity, ValidityBit.NODATA)
    usable = info.usable(patch.validity)
    panels = [
        (
            "image",
            composite(
                info.reflectance(patch.image),
                patch.band_names,
                valid=has_data,
                limits=info.usual_range,
            ),
        ),
        ("label", class_picture(patch.label, info.legend)),
        ("usable", np.where(usable[..., None], 255, 40).astype(np.uint8).repeat(3, axis=-1)),
    ]
    save_panels(
        path, panels, legend=info.legend, title=patch.key, metres_per_pixel=info.resolution_m
    )


def _program(config: InspectConfig) -> int:
    info = DatasetInfo.load(config.data_dir)
    if config.key is None:
        if config.to_geotiff or config.png:
            raise DatasetError("--to-geotiff and --png need the --key of a record")
        _list(config, info)
        return 0
    rasters = _geotiffs(config.to_geotiff) if config.to_geotiff else []
    pictures = [config.png] if config.png else []
    require_new([*rasters, *pictures], overwrite=config.overwrite)
    entry, patch = find_patch(config.data_dir, info, config.key)
    print(_description(entry, patch, info))
    if config.to_geotiff:
        for path in write_geotiffs(patch, info, config.to_geotiff):
            print(f"wrote {path}")
    if config.png:
        write_picture(patch, info, config.png)
        print(f"wrote {config.png}")
    return 0


def _list(config: InspectConfig, info: DatasetInfo) -> None:
    if config.split is not None:
        info.split(config.split)
    try:
        info.verify(config.data_dir, checksums=False)
    except DatasetError as error:
        print(f"warning: {error}", file=sys.stderr)
    entries = read_index(config.data_dir, config.split)
    for entry in entries[: config.limit]:
        largest = max(entry.class_pixels, key=lambda code: entry.class_pixels[code], default=None)
        names = dict(zip(info.legend.codes, info.legend.names, strict=True))
        print(
            f"{entry.key}  {entry.split:5}  {entry.shard}#{entry.position}  "
            f"{entry.labelled_fraction:.0%} labelled, most of it {names.get(largest or 0, '-')}"
        )
    print(f"{len(entries)} records; open one with --key KEY --to-geotiff FILE --png FILE")


def _description(entry: PatchEntry, patch: Patch, info: DatasetInfo) -> str:
    window, names = patch.window, dict(zip(info.legend.codes, info.legend.names, strict=True))
    classes = ", ".join(f"{names[code]} {n}" for code, n in sorted(entry.class_pixels.items()))
    return "\n".join(
        [
            f"key       {patch.key}",
            f"place     {entry.split}, {entry.shard}, record {entry.position}",
            f"product   {patch.product}",
            f"window    row {window.row_off}, column {window.col_off}, "
            f"{window.height} x {window.width}",
            f"CRS       {patch.crs or 'none'}",
            f"transform {', '.join(f'{v:.12g}' for v in patch.transform)}",
            f"image     {patch.image.dtype} {patch.image.shape}, bands "
            f"{', '.join(patch.band_names)}",
            f"classes   {classes} (usable pixels)",
        ]
    )


@contextmanager
def _created(path: Path, patch: Patch, values: np.ndarray) -> Iterator[DatasetWriter]:
    """Yields a GeoTIFF that appears under its name when all is written."""
    height, width, bands = values.shape
    with (
        atomic_path(path) as temporary,
        without_georeference_warning(),
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=bands,
            dtype=values.dtype.name,
            crs=CRS.from_user_input(patch.crs) if patch.crs else None,
            transform=Affine(*patch.transform),
            compress="deflate",
        ) as raster,
    ):
        yield raster


if __name__ == "__main__":
    sys.exit(main())
