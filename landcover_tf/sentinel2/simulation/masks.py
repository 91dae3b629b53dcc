"""Quality masks: JPEG 2000 rasters from baseline 04.00 on, GML polygons before."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from rasterio import features

from landcover_tf.bands import SENTINEL2_L1C, Band
from landcover_tf.sentinel2.simulation.images import grid_transform, write_jp2
from landcover_tf.sentinel2.simulation.product import ProductIdentity

# Bands of MSK_QUALIT, counted from 0. Source: sentinel2.esa.int, Level-1C quality masks.
_LOST, _DEFECTIVE, _OUTSIDE, _SATURATED = 2, 4, 5, 7
_QUALITY_BANDS = 8


@dataclass(frozen=True, kw_only=True)
class BandQuality:
    """What is wrong with one band; arrays are bool on the band's own grid."""

    outside: np.ndarray
    """No data: outside the swath."""
    saturated: np.ndarray
    defective: np.ndarray
    """Pixels of a defective detector element."""
    lost: np.ndarray
    """Lines that never arrived."""


def detector_footprint(band: Band, outside: np.ndarray) -> np.ndarray:
    """Returns the number of the detector that saw each pixel, uint8, 0 outside the swath.

    The twelve detectors look at strips about 25 km wide, tilted like the track; on small rasters
    the strips are narrowed so that a border between two always lies inside.
    """
    size = outside.shape[0]
    # One row and one column that broadcast: whole grids of a full tile would take 2 GB.
    cols = np.arange(size, dtype=np.float32)
    rows = cols[:, None]
    width = min(25000 / band.resolution_m, size * 0.6)
    # Detectors of different bands look slightly apart.
    parallax = 40 * SENTINEL2_L1C.index(band) / band.resolution_m
    strip = cols + 0.2 * rows
    strip += 0.45 * width + parallax
    np.floor(np.divide(strip, width, out=strip), out=strip)
    detector: np.ndarray = np.clip(strip + 5, 1, 12, out=strip).astype(np.uint8)
    detector[outside] = 0
    return detector


def write_band_masks(
    root: Path, product: ProductIdentity, band: Band, quality: BandQuality
) -> None:
    """Writes the masks of one band."""
    footprint = detector_footprint(band, quality.outside)

    def path(kind: str) -> Path:
        return root / product.mask_path(kind, band.name)

    if product.has_offset:
        bits = np.zeros((_QUALITY_BANDS, *footprint.shape), np.uint8)
        bits[_LOST], bits[_DEFECTIVE] = quality.lost, quality.defective
        bits[_OUTSIDE], bits[_SATURATED] = quality.outside, quality.saturated
        write_jp2(path("MSK_QUALIT"), bits, product, band.resolution_m)
        write_jp2(path("MSK_DETFOO"), footprint[None], product, band.resolution_m)
        return
    layers = {
        "MSK_NODATA": [("QT_NODATA_PIXELS", quality.outside)],
        "MSK_SATURA": [("QT_SATURATED_PIXELS_L1A", quality.saturated)],
        "MSK_DEFECT": [("QT_DEFECTIVE_PIXELS", quality.defective)],
        "MSK_TECQUA": [("MSI_LOST", quality.lost)],
        "MSK_DETFOO": [
            (f"DETECTOR_FOOTPRINT:{int(number):02d}", footprint == number)
            for number in np.unique(footprint[footprint > 0])
        ],
    }
    for kind, members in layers.items():
        _write_gml(path(kind), product, band, members)


def write_cloud_masks(
    root: Path, product: ProductIdentity, cloudy: np.ndarray, has_cirrus: np.ndarray
) -> None:
    """Writes the tile's cloud mask from bool rasters on the 60 m grid."""
    if product.has_offset:
        bands = np.stack([cloudy, has_cirrus, np.zeros_like(cloudy)]).astype(np.uint8)
        write_jp2(root / product.mask_path("MSK_CLASSI", "B00"), bands, product, 60)
        return
    members = [("OPAQUE", cloudy), ("CIRRUS", has_cirrus)]
    coarse = next(band for band in SENTINEL2_L1C if band.resolution_m == 60)
    _write_gml(root / product.mask_path("MSK_CLOUDS", "B00"), product, coarse, members)


def _write_gml(
    path: Path, product: ProductIdentity, band: Band, members: list[tuple[str, np.ndarray]]
) -> None:
    """Writes the outlines of bool rasters; a member type may carry a detector after a colon."""
    name = path.stem
    root = ET.Element(
        "eop:Mask",
        {
            "xmlns:eop": "http://www.opengis.net/eop/2.0",
            "xmlns:gml": "http://www.opengis.net/gml/3.2",
            "gml:id": f"{product.long_id(name)}_MSIL1C",
        },
    )
    ET.SubElement(root, "gml:name").text = f"{name} pixels mask"
    if any(raster.any() for _, raster in members):
        _envelope(root, product)
    collection = ET.SubElement(root, "eop:maskMembers")
    geotransform = grid_transform(product, band.resolution_m)
    count = 0
    for kind, raster in members:
        mask_type, _, detector = kind.partition(":")
        for polygon, _ in features.shapes(raster.astype(np.uint8), raster, 4, geotransform):
            identity = (
                f"detector_footprint-{band.name}-{detector}-{count}"
                if detector
                else f"{mask_type}.{count}"
            )
            _mask_feature(collection, identity, mask_type, polygon["coordinates"])
            count += 1
    ET.indent(root)
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    path.write_bytes(head + ET.tostring(root, encoding="utf-8"))


def _envelope(root: ET.Element, product: ProductIdentity) -> None:
    tile, side = product.tile, product.size_px * 10
    bounded = ET.SubElement(root, "gml:boundedBy")
    envelope = ET.SubElement(
        bounded, "gml:Envelope", srsName=f"urn:ogc:def:crs:EPSG:8.7:{tile.epsg}"
    )
    ET.SubElement(envelope, "gml:lowerCorner").text = f"{tile.ulx} {tile.uly - side}"
    ET.SubElement(envelope, "gml:upperCorner").text = f"{tile.ulx + side} {tile.uly}"


def _mask_feature(
    parent: ET.Element,
    identity: str,
    mask_type: str,
    rings: list[list[tuple[float, float]]],
) -> None:
    feature = ET.SubElement(
        ET.SubElement(parent, "eop:MaskFeature", {"gml:id": identity}), "eop:maskType"
    )
    feature.set("codeSpace", "urn:gs2:S2PDGS:maskType")
    feature.text = mask_type
    member = parent[-1]
    extent = ET.SubElement(member, "eop:extentOf")
    polygon = ET.SubElement(extent, "gml:Polygon", {"gml:id": f"{identity}_Polygon"})
    for index, ring in enumerate(rings):
        side = ET.SubElement(polygon, "gml:interior" if index else "gml:exterior")
        positions = ET.SubElement(
            ET.SubElement(side, "gml:LinearRing"), "gml:posList", srsDimension="2"
        )
        positions.text = " ".join(f"{x:.10g} {y:.10g}" for x, y in ring)
