"""Quality masks of a product: JP2 rasters since baseline 04.00, GML polygons before."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.features import rasterize

from landcover_tf.bands import band
from landcover_tf.errors import ProductError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import rasterio_window
from landcover_tf.sentinel2 import resample
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.codestream import TileIdentity, identical_tiles
from landcover_tf.sentinel2.product import MaskFile, SafeProduct
from landcover_tf.validity import ValidityBit, set_bit

# Bands of MSK_QUALIT, from the Sentinel-2 toolbox: 1 ancillary data lost, 2 ancillary data
# degraded, 3 image data lost, 4 image data degraded, 5 defective, 6 no data, 7 partially
# corrected cross-talk, 8 saturated. 2, 4 and 7 leave usable data.
_QUALIT_BITS = {
    1: ValidityBit.DEFECTIVE,
    3: ValidityBit.DEFECTIVE,
    5: ValidityBit.DEFECTIVE,
    6: ValidityBit.NODATA,
    8: ValidityBit.SATURATED,
}
# Feature types of the GML masks. MSK_NODATA also lists partially corrected cross-talk, which is
# data, so the type decides and not the file.
_GML_BITS = {
    "QT_NODATA_PIXELS": ValidityBit.NODATA,
    "QT_DEFECTIVE_PIXELS": ValidityBit.DEFECTIVE,
    "QT_SATURATED_PIXELS_L1A": ValidityBit.SATURATED,
    "QT_SATURATED_PIXELS_L1B": ValidityBit.SATURATED,
    "MSI_LOST": ValidityBit.DEFECTIVE,
    "ANC_LOST": ValidityBit.DEFECTIVE,
}
_setting_bits = threading.Lock()
"""Two threads that read and write the same pixels would lose bits."""
_GML_KINDS = ("NODATA", "DEFECT", "SATURA", "TECQUA")


def read_product_clouds(product: SafeProduct) -> CloudMask | None:
    """Returns MSK_CLASSI or MSK_CLOUDS, or None if the product has neither.

    There is no snow before baseline 04.00, whose masks have none.
    """
    grid = product.grids[60]
    for mask in product.mask_files("CLASSI"):
        # Three separate 0/1 bands, not a bit field.
        planes = _read_raster(product, mask, grid, bands=(1, 2, 3)) != 0
        return CloudMask(opaque=planes[0], cirrus=planes[1], snow=planes[2])
    for mask in product.mask_files("CLOUDS"):
        shapes = dict[str, list[dict[str, Any]]]()
        for kind, polygon in polygons(product, mask):
            shapes.setdefault(kind, []).append(polygon)
        return CloudMask(
            opaque=_burn(shapes.get("OPAQUE", []), grid),
            cirrus=_burn(shapes.get("CIRRUS", []), grid),
            snow=np.zeros(grid.shape, bool),
        )
    return None


def read_quality_bits(product: SafeProduct, *, threads: int = 1) -> np.ndarray:
    """Returns the NODATA, DEFECTIVE and SATURATED bits that the masks of all bands set.

    Args:
        product: With raster or GML masks.
        threads: Raster masks decoded at a time.

    Returns:
        uint8 on the 10 m grid.
    """
    total = np.zeros(product.grids[10].shape, np.uint8)
    for resolution, grid in product.grids.items():
        # Masks are gathered on their own grid and repeated once, not once per band.
        bits = total if resolution == 10 else np.zeros(grid.shape, np.uint8)
        masks = [m for m in product.masks if m.band and band(m.band).resolution_m == resolution]
        rasters = [m for m in masks if _conversion(m) is not None]

        def set_bits_of(mask: MaskFile, grid: RasterGrid = grid, bits: np.ndarray = bits) -> None:
            _or_raster(product, mask, grid, bits)

        # Every mask is a file of its own, so each thread has a GDAL handle of its own.
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(set_bits_of, rasters))
        for mask in masks:
            if mask in rasters:
                continue
            if mask.kind == "DETFOO":
                _or_outside_footprints(product, mask, grid, bits)
            elif mask.kind in _GML_KINDS and mask.suffix == ".gml":
                _or_polygons(product, mask, grid, bits)
        if resolution > 10 and bits.any():
            total |= resample.repeat(bits, resolution // 10)
    return total


def polygons(product: SafeProduct, mask: MaskFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (feature type, GeoJSON polygon) of a GML mask; an empty mask yields nothing.

    Raises:
        ProductError: The file is missing, malformed, or has positions that are none.
    """
    root = product.container.xml(mask.name)
    for feature in root.iter():
        if _local_name(feature) != "MaskFeature":
            continue
        kind = next(
            ((e.text or "").strip() for e in feature.iter() if _local_name(e) == "maskType"), ""
        )
        for polygon in (e for e in feature.iter() if _local_name(e) == "Polygon"):
            rings = [
                _ring(e, f"{mask.name} in {product.path}")
                for side in ("exterior", "interior")
                for part in polygon
                if _local_name(part) == side
                for e in part.iter()
                if _local_name(e) == "posList"
            ]
            # Fewer than three points enclose nothing.
            if rings and len(rings[0]) > 2:
                holes = [ring for ring in rings[1:] if len(ring) > 2]
                yield kind, {"type": "Polygon", "coordinates": [rings[0], *holes]}


def _qualit_bits(planes: np.ndarray) -> np.ndarray:
    bits = np.zeros(planes.shape[1:], np.uint8)
    for number, bit in _QUALIT_BITS.items():
        if number <= len(planes):
            set_bit(bits, planes[number - 1] != 0, bit)
    return bits


def _outside_detectors(planes: np.ndarray) -> np.ndarray:
    bits = np.zeros(planes.shape[1:], np.uint8)
    set_bit(bits, planes[0] == 0, ValidityBit.NODATA)
    return bits


def _conversion(mask: MaskFile) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns what turns the planes of a raster mask into bits, or None for other masks."""
    if mask.kind == "QUALIT":
        return _qualit_bits
    if mask.kind == "DETFOO" and mask.suffix == ".jp2":
        return _outside_detectors
    return None


def _or_raster(product: SafeProduct, mask: MaskFile, grid: RasterGrid, bits: np.ndarray) -> None:
    """Sets the bits of one raster mask, tile by inner tile.

    Quality masks are nearly empty. Inner tiles with identical code streams decode to identical
    pixels, so each distinct one is decoded once: seconds become milliseconds.
    """
    convert = _conversion(mask)
    if convert is None:
        raise ValueError(f"{mask.name} is no raster mask")
    known: dict[TileIdentity, np.ndarray] = {}
    with product.open_raster(mask.name, grid) as dataset:
        for window, identity in identical_tiles(
            product.container, mask.name, grid.height, grid.width, dataset.block_shapes[0]
        ):
            tile = known.get(identity) if identity is not None else None
            if tile is None:
                tile = convert(_read_window(dataset, product, mask, window))
                if identity is not None:
                    known[identity] = tile
            if tile.any():
                with _setting_bits:
                    bits[window.slices] |= tile


def _or_polygons(product: SafeProduct, mask: MaskFile, grid: RasterGrid, bits: np.ndarray) -> None:
    marked: dict[ValidityBit, list[dict[str, Any]]] = {}
    for kind, polygon in polygons(product, mask):
        bit = _GML_BITS.get(kind)
        if bit is not None:
            marked.setdefault(bit, []).append(polygon)
    # Saturated clouds may be thousands of polygons; each burning goes over the whole tile.
    for bit, found in marked.items():
        # A dead detector column is narrower than a pixel of 60 m, so few centres lie in it. A pixel
        # that no data touches has some, as at a footprint's edge.
        touched = bit != ValidityBit.NODATA
        set_bit(bits, _burn(found, grid, all_touched=touched), bit)


def _or_outside_footprints(
    product: SafeProduct, mask: MaskFile, grid: RasterGrid, bits: np.ndarray
) -> None:
    footprints = [polygon for _, polygon in polygons(product, mask)]
    if footprints:
        # Footprints end on sub-pixel positions; a touched pixel has data.
        inside = _burn(footprints, grid, all_touched=True)
        set_bit(bits, np.logical_not(inside, out=inside), ValidityBit.NODATA)


def _read_window(
    dataset: rasterio.DatasetReader, product: SafeProduct, mask: MaskFile, window: Window
) -> np.ndarray:
    try:
        return np.asarray(dataset.read(window=rasterio_window(window)))
    except RasterioError as error:
        raise ProductError(
            f"cannot decode {mask.name} in {product.path} ({error}); download the product again"
        ) from error


def _read_raster(
    product: SafeProduct, mask: MaskFile, grid: RasterGrid, bands: tuple[int, ...]
) -> np.ndarray:
    with product.open_raster(mask.name, grid) as dataset:
        if dataset.count < len(bands):
            raise ProductError(
                f"{mask.name} in {product.path} has {dataset.count} bands; expected {len(bands)}"
            )
        return _read_window(dataset, product, mask, grid.window)[[b - 1 for b in bands]]


def _ring(element: Any, where: str) -> list[tuple[float, float]]:
    try:
        dimension = int(element.get("srsDimension") or 2)
        numbers = [float(v) for v in (element.text or "").split()]
    except ValueError as error:
        raise ProductError(f"{where}: a posList must hold numbers ({error})") from error
    if dimension < 2 or len(numbers) % dimension:
        raise ProductError(
            f"{where}: a posList has {len(numbers)} numbers, which are no {dimension}-D points"
        )
    return list(zip(numbers[::dimension], numbers[1::dimension], strict=True))


def _local_name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _burn(
    polygons: list[dict[str, Any]], grid: RasterGrid, *, all_touched: bool = False
) -> np.ndarray:
    if not polygons:
        return np.zeros(grid.shape, bool)
    burnt = rasterize(
        polygons,
        out_shape=grid.shape,
        transform=grid.transform,
        all_touched=all_touched,
        dtype="uint8",
    )
    return np.asarray(burnt.view(bool))  # 0 or 1, so the bytes are booleans already.
