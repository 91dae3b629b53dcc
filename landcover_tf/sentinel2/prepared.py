"""Prepared scenes: folders that the dataset builder and the predictor read.

image.tif      uint16, 13 named bands at 10 m; reflectance = stored * scale + offset; 0 no data
validity.tif   uint8 bits, see `validity.ValidityBit`
labels.tif     uint8 legend codes, where ground truth was given
scene.json     what the scene is and how it was made
quicklook.png  true colour, false colour, validity, labels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import DatasetWriter
from rasterio.transform import Affine

from landcover_tf import validity
from landcover_tf.errors import ConfigError, ProductError, RasterError
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.system.files import read_json
from landcover_tf.upsampling import Upsampling

SCHEMA_VERSION = 1
IMAGE, VALIDITY, LABELS = "image.tif", validity.FILE_NAME, "labels.tif"
DOCUMENT, QUICKLOOK = "scene.json", "quicklook.png"
TILE_PX = 512


def read_document(folder: Path) -> dict[str, Any]:
    """Returns what `scene.json` of a prepared scene holds.

    Raises:
        RasterError: There is none, or it is damaged or of another schema.
    """
    if not (folder / DOCUMENT).is_file():
        raise RasterError(
            f"{folder} is not a prepared scene: it has no {DOCUMENT}; run "
            "`landcover prepare` on the product first"
        )
    try:
        document = read_json(folder / DOCUMENT)
    except ConfigError as error:
        raise RasterError(f"{error}; prepare the product again") from error
    if not isinstance(document, dict):
        raise RasterError(
            f"{folder / DOCUMENT} holds no JSON object; it is damaged, prepare the product again"
        )
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RasterError(
            f"{folder / DOCUMENT} has schema version {version}; expected {SCHEMA_VERSION}, "
            "prepare the product again"
        )
    return document


def upsampling_of(document: dict[str, Any], folder: Path) -> Upsampling | None:
    """Returns how the coarse bands of a prepared scene came to 10 m; None if it does not say.

    Raises:
        RasterError: Its `scene.json` is damaged.
    """
    try:
        return Upsampling.from_dict(document.get("settings"))
    except (KeyError, TypeError, ValueError) as error:
        raise RasterError(
            f"the settings in {folder / DOCUMENT} are damaged ({error!r}); prepare the product "
            "again"
        ) from error


@dataclass(frozen=True, kw_only=True)
class PreparedScene:
    """What a prepared scene says of itself; its rasters lie in its folder."""

    folder: Path
    name: str
    """Product name without .SAFE."""
    baseline: str
    """Processing baseline, for example 05.11."""
    sensing_time: datetime
    """UTC."""
    tile: str
    """MGRS tile."""
    orbit: int
    """Relative orbit."""
    legend: str | None
    """Name of the legend that `labels.tif` uses; None without labels."""
    height: int
    width: int
    crs: CRS
    transform: Affine
    band_names: tuple[str, ...]
    scales: tuple[float, ...]
    """Reflectance per stored unit, per band."""
    offsets: tuple[float, ...]
    """Reflectance of stored value 0, per band."""
    nodata: int
    document: dict[str, Any]
    """The whole of scene.json."""

    @staticmethod
    def open(folder: str | Path) -> "PreparedScene":
        """Returns the prepared scene in `folder`.

        Raises:
            RasterError: The folder is not a finished prepared scene of this schema.
        """
        folder = Path(folder)
        document = read_document(folder)
        try:
            with rasterio.open(folder / IMAGE) as image:
                return PreparedScene(
                    folder=folder,
                    name=document["product"],
                    baseline=document["baseline"],
                    sensing_time=datetime.fromisoformat(document["sensing_time"]),
                    tile=document["tile"],
                    orbit=document["orbit"],
                    legend=document["legend"],
                    height=image.height,
                    width=image.width,
                    crs=image.crs,
                    transform=image.transform,
                    band_names=tuple(image.descriptions),
                    scales=tuple(image.scales),
                    offsets=tuple(image.offsets),
                    nodata=int(image.nodata),
                    document=document,
                )
        except (RasterioIOError, KeyError, TypeError, ValueError) as error:
            raise RasterError(
                f"{folder} is not a complete prepared scene ({error}); prepare it again"
            ) from error

    @property
    def has_labels(self) -> bool:
        """Whether ground truth was given."""
        return (self.folder / LABELS).is_file()


def find_prepared_scenes(folder: str | Path) -> list[PreparedScene]:
    """Returns the finished prepared scenes in `folder`, or `folder` itself if it is one.

    Raises:
        RasterError: There is none.
    """
    folder = Path(folder)
    if (folder / DOCUMENT).is_file():
        return [PreparedScene.open(folder)]
    found = sorted(p.parent for p in folder.glob(f"*/{DOCUMENT}") if p.parent.name[0] != ".")
    if not found:
        raise RasterError(
            f"{folder} holds no prepared scene; expected folders with {DOCUMENT}, as "
            "`landcover prepare` writes them"
        )
    return [PreparedScene.open(path) for path in found]


def create_raster(
    path: Path,
    *,
    grid: RasterGrid,
    count: int,
    dtype: str,
    nodata: int | None,
    threads: int = 2,
) -> DatasetWriter:
    """Returns a new tiled, compressed GeoTIFF open for writing.

    The profile is made from scratch: a JP2's own carries NBITS=15, which breaks the predictor.
    """
    try:
        return rasterio.open(
            path,
            "w",
            driver="GTiff",
            **grid.profile,
            count=count,
            dtype=dtype,
            nodata=nodata,
            tiled=True,
            blockxsize=TILE_PX,
            blockysize=TILE_PX,
            interleave="band",
            compress="zstd",
            # Level 1 is within 2 % of the size of level 9 on differenced reflectance.
            zstd_level=1,
            predictor=2 if dtype == "uint16" else 1,
            bigtiff="if_safer",
            num_threads=threads,
        )
    except RasterioError as error:
        raise ProductError(f"cannot create {path}: {error}") from error


def describe_bands(
    dataset: DatasetWriter,
    names: Sequence[str],
    *,
    scale: float,
    offset: float,
    tags: dict[str, str],
) -> None:
    """Writes band names, scale, offset and tags, so that no reader has to guess."""
    dataset.descriptions = tuple(names)
    dataset.scales = (scale,) * len(names)
    dataset.offsets = (offset,) * len(names)
    dataset.update_tags(**tags)
