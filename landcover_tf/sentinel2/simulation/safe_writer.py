"""Writes a scene as a SAFE folder or zip, the way the ground segment lays it out."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from landcover_tf.bands import SENTINEL2_L1C, Band
from landcover_tf.sentinel2.simulation import metadata
from landcover_tf.sentinel2.simulation.images import write_jp2
from landcover_tf.sentinel2.simulation.masks import (
    BandQuality,
    write_band_masks,
    write_cloud_masks,
)
from landcover_tf.sentinel2.simulation.product import (
    DN_MAX,
    NODATA,
    QUANTIFICATION,
    ProductIdentity,
)
from landcover_tf.sentinel2.simulation.scene import SceneModel, mirrored
from landcover_tf.sentinel2.simulation.weather import outside_swath
from landcover_tf.system.files import atomic_folder, atomic_path
from landcover_tf.system.progress import progress

_PREVIEW_ROWS = 1024
_CHECKS = ("FORMAT_CORRECTNESS", "GENERAL_QUALITY", "GEOMETRIC_QUALITY", "SENSOR_QUALITY")


@dataclass(frozen=True, kw_only=True)
class Flaws:
    """What went wrong on board."""

    nodata_fraction: float = 0.0
    """Share of the pixels outside the swath; 1.0 leaves no data at all."""
    saturated: bool = False
    """A patch in the middle is saturated in every band."""
    defective: bool = False
    """B03 and B11 have two lost lines and a defective column."""

    def __post_init__(self) -> None:
        if not 0 <= self.nodata_fraction <= 1:
            raise ValueError(f"nodata_fraction must be in [0, 1], got {self.nodata_fraction}")


def write_safe(folder: Path, product: ProductIdentity, scene: SceneModel, flaws: Flaws) -> None:
    """Writes the product's files into `folder`, which exists and becomes the SAFE folder."""
    for path in (product.image_path("B01"), product.mask_path("MSK_DETFOO", "B01")):
        (folder / path).parent.mkdir(parents=True)
    visible: dict[str, np.ndarray] = {}
    for band in progress(SENTINEL2_L1C, label=f"simulate {product.stem}", unit="band"):
        digital, quality = _digitise(product, scene, flaws, band)
        write_jp2(folder / product.image_path(band.name), digital[None], product, band.resolution_m)
        write_band_masks(folder, product, band, quality)
        if band.name in ("B02", "B03", "B04"):
            visible[band.name] = digital
    weather = scene.weather
    seen = ~outside_swath(product.size_px, 6, flaws.nodata_fraction)
    cloudy = mirrored(weather.cloudy, len(seen)) & seen
    has_cirrus = mirrored(weather.has_cirrus, len(seen)) & seen
    write_cloud_masks(folder, product, cloudy, has_cirrus)
    # Of the pixels with data, as in real products.
    cloud_percentage = 100 * float((cloudy | has_cirrus).sum() / max(seen.sum(), 1))
    _write_previews(folder, product, visible)
    _write_metadata(folder, product, scene, cloud_percentage)


def write_folder(path: Path, product: ProductIdentity, scene: SceneModel, flaws: Flaws) -> None:
    """Writes the SAFE folder `path`, whole or not at all."""
    with atomic_folder(path) as folder:
        write_safe(folder, product, scene, flaws)


def zip_folder(folder: Path, path: Path, *, root_name: str, time: datetime) -> None:
    """Packs a SAFE folder, byte for byte the same each time.

    Args:
        folder: The SAFE folder.
        path: The .zip to write.
        root_name: Name of the folder inside the zip.
        time: The modification time of all members.
    """
    stamp = (time.year, time.month, time.day, time.hour, time.minute, time.second)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for source in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = f"{root_name}/{source.relative_to(folder).as_posix()}"
            member = zipfile.ZipInfo(name, stamp)
            member.external_attr = 0o644 << 16
            archive.writestr(member, source.read_bytes())


def _digitise(
    product: ProductIdentity, scene: SceneModel, flaws: Flaws, band: Band
) -> tuple[np.ndarray, BandQuality]:
    """Returns a band's digital numbers (uint16, native grid) and its quality."""
    ratio = band.resolution_m // 10
    size = product.size_px // ratio
    # Bands look slightly apart in time, so their swath edges differ by a few pixels.
    apart = 0.6 * SENTINEL2_L1C.index(band)
    outside = outside_swath(product.size_px, ratio, flaws.nodata_fraction, shift_px=apart)
    saturated, lost, defective = (np.zeros_like(outside) for _ in range(3))
    if flaws.saturated:
        patch = slice(size // 2, size // 2 + max(size // 30, 2))
        saturated[patch, patch] = True
    if flaws.defective and band.name in ("B03", "B11"):
        lost[size // 3 : size // 3 + 2] = True
        defective[:, size // 4] = True
    # Digitised before it is repeated: a full tile takes a quarter of the memory of floats.
    small = np.rint(scene.reflectance(band.name) * QUANTIFICATION) - product.offset
    digital = mirrored(np.clip(small, 1, DN_MAX - 1).astype(np.uint16), size)
    digital[saturated] = DN_MAX
    digital[lost | outside] = NODATA
    quality = BandQuality(
        outside=outside,
        saturated=saturated & ~outside,
        defective=defective & ~outside,
        lost=lost & ~outside,
    )
    return digital, quality


def _write_previews(folder: Path, product: ProductIdentity, visible: dict[str, np.ndarray]) -> None:
    """Writes the true-colour image and the small preview."""
    planes = [visible[name] for name in ("B04", "B03", "B02")]
    colour = np.empty((3, *planes[0].shape), np.uint8)
    # Row by row of blocks, as floats of a full tile would take gigabytes.
    for start in range(0, product.size_px, _PREVIEW_ROWS):
        rows = slice(start, start + _PREVIEW_ROWS)
        rgb = np.stack([plane[rows] for plane in planes]).astype(np.float32)
        reflectance = np.maximum(rgb + product.offset, 0) / QUANTIFICATION
        # The ground segment stretches 0 to 0.3558 linearly to 1-255; 0 is no data.
        stretched = np.clip(1 + reflectance / 0.3558 * 254, 1, 255)
        stretched[:, (rgb == NODATA).any(axis=0)] = 0
        colour[:, rows] = stretched
    write_jp2(folder / product.image_path("TCI"), colour, product, 10)
    step = -(-product.size_px // 343)
    preview = f"GRANULE/{product.granule}/QI_DATA/{product.stem}_PVI.jp2"
    write_jp2(folder / preview, colour[:, ::step, ::step], product, 10 * step)


def _write_metadata(
    folder: Path, product: ProductIdentity, scene: SceneModel, cloud_percentage: float
) -> None:
    for path, content in _documents(product, scene, cloud_percentage):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    # Last, because it holds every other file's checksum.
    (folder / "manifest.safe").write_bytes(metadata.manifest_xml(product, folder))


def _documents(
    product: ProductIdentity, scene: SceneModel, cloud_percentage: float
) -> Iterator[tuple[str, bytes]]:
    granule = f"GRANULE/{product.granule}"
    yield "MTD_MSIL1C.xml", metadata.product_xml(product, cloud_percentage=cloud_percentage)
    yield (
        f"{granule}/MTD_TL.xml",
        metadata.tile_xml(product, scene.sun, cloud_percentage=cloud_percentage),
    )
    yield f"DATASTRIP/{product.datastrip}/MTD_DS.xml", metadata.datastrip_xml(product)
    for check in _CHECKS:
        report = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<report name="{check}" status="PASSED"/>\n'
        )
        yield f"{granule}/QI_DATA/{check}.xml", report.encode()
