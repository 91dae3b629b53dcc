"""Level-1C products are read as their own XML describes them."""

import re
from pathlib import Path, PurePosixPath

from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine

from landcover_tf.bands import BAND_NAMES, SENTINEL2_L1C, band
from landcover_tf.errors import ProductError, RasterError
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2.container import Container, open_container
from landcover_tf.sentinel2.metadata_file import MetadataFile
from landcover_tf.sentinel2.product import MaskFile, SafeProduct

PRODUCT_METADATA = "MTD_MSIL1C.xml"
RESOLUTIONS_M = (10, 20, 60)

# Sentinel-2 Products Specification Document: the largest of 16 bits in every product so far.
SATURATED = 65535

# Sentinel-2 Products Specification Document, naming since 6 December 2016.
_NAME = re.compile(
    r"^(?P<satellite>S2[A-Z])_MSIL1C_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<discriminator>\d{8}T\d{6})$"
)
_FILE_NAME = re.compile(r"\w[\w.-]*")
_DATASTRIP_START = re.compile(r"_S(\d{8}T\d{6})(?:_|$)")
_TILE = re.compile(r"_T(\d{2}[C-X][A-Z]{2})(?:_|$)")
_MASK_NAME = re.compile(r"MSK_([A-Z]+)_(?:.*_)?(B\d[0-9A])(?:_MSIL1C)?\.(?i:jp2|gml)$")


def open_product(path: str | Path) -> SafeProduct:
    """Returns the product in a SAFE folder or a .zip.

    Raises:
        ProductError: It is not a Level-1C product, or its metadata is incomplete or damaged.
    """
    container = open_container(path)
    product = MetadataFile(container, PRODUCT_METADATA)
    level = product.text("PROCESSING_LEVEL")
    if level != "Level-1C":
        raise ProductError(f"{path} is {level}; expected Level-1C, download the MSIL1C product")
    tile = MetadataFile(container, _tile_metadata(container))
    names = _band_names_by_id(product)
    name = _product_name(product, container)
    sun_zenith_deg, sun_azimuth_deg = _sun(tile)
    return SafeProduct(
        container=container,
        name=name,
        satellite=_satellite(name, product),
        baseline=_baseline(product),
        datatake_start=product.time("DATATAKE_SENSING_START"),
        datastrip_start=_datastrip_start(tile),
        footprint=product.optional_text("EXT_POS_LIST") or "",
        sensing_time=tile.time("SENSING_TIME"),
        tile=_tile_name(tile),
        orbit=int(product.number("SENSING_ORBIT_NUMBER")),
        grids=_grids(tile),
        quantification=_quantification(product),
        offsets=_offsets(product, names),
        nodata=_special_value(product, "NODATA"),
        saturated=_special_value(product, "SATURATED", SATURATED),
        band_files=_band_files(product, container),
        masks=_masks(tile, container, names),
        sun_zenith_deg=sun_zenith_deg,
        sun_azimuth_deg=sun_azimuth_deg,
        cloud_percentage=_cloud_percentage(product, tile),
        center_nm=_center_wavelengths(product, names),
        failed_quality_checks=_failed_checks(product),
        lacking=_lacking(product, tile),
    )


def _tile_metadata(container: Container) -> str:
    found = [
        name
        for name in container.sizes
        if name.startswith("GRANULE/") and PurePosixPath(name).name == "MTD_TL.xml"
    ]
    if len(found) != 1:
        raise ProductError(
            f"{container.path} has {len(found)} GRANULE/*/MTD_TL.xml; expected exactly one"
        )
    return found[0]


def _product_name(product: MetadataFile, container: Container) -> str:
    """Returns PRODUCT_URI, or else the folder's name, without .SAFE.

    It names output folders, so it must be a mere name.
    """
    folder = container.root or container.path.resolve().name.removesuffix(".zip")
    name = (product.optional_text("PRODUCT_URI") or folder).removesuffix(".SAFE")
    if not _FILE_NAME.fullmatch(name):
        raise ProductError(f"{product.where}: PRODUCT_URI must be a product's name, got {name!r}")
    return name


def _sun(tile: MetadataFile) -> tuple[float | None, float | None]:
    zenith, azimuth = (
        tile.optional_number(f"Mean_Sun_Angle/{angle}_ANGLE") for angle in ("ZENITH", "AZIMUTH")
    )
    return (None, None) if zenith is None or azimuth is None else (zenith, azimuth)


def _lacking(product: MetadataFile, tile: MetadataFile) -> tuple[str, ...]:
    lacking = {
        "PRODUCT_URI, so it has its folder's name": not product.optional_text("PRODUCT_URI"),
        "RADIO_ADD_OFFSET, which products have since baseline 04.00, so 0 is added to all bands": (
            _baseline(product) >= (4, 0) and not product.elements("RADIO_ADD_OFFSET")
        ),
        f"the special value SATURATED, so {SATURATED} is": "SATURATED" not in _specials(product),
        "Mean_Sun_Angle, so its shadows cannot be projected": _sun(tile)[0] is None,
        "the percentage of clouds": _cloud_percentage(product, tile) is None,
    }
    return tuple(what for what, absent in lacking.items() if absent)


def _datastrip_start(tile: MetadataFile) -> str | None:
    match = _DATASTRIP_START.search(tile.optional_text("DATASTRIP_ID") or "")
    return match[1] if match else None


def _cloud_percentage(product: MetadataFile, tile: MetadataFile) -> float | None:
    own = tile.optional_number("CLOUDY_PIXEL_PERCENTAGE")
    return product.optional_number("Cloud_Coverage_Assessment") if own is None else own


def _baseline(product: MetadataFile) -> tuple[int, int]:
    text = product.text("PROCESSING_BASELINE")
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text)
    if not match:
        raise ProductError(f"{product.where}: PROCESSING_BASELINE must be NN.NN, got {text!r}")
    return int(match[1]), int(match[2])


def _satellite(name: str, product: MetadataFile) -> str:
    match = _NAME.match(name)
    if match:
        return match["satellite"]
    text = product.text("SPACECRAFT_NAME")
    if not re.fullmatch(r"Sentinel-2[A-Z]", text):
        raise ProductError(f"{product.where}: expected a Sentinel-2 satellite, got {text!r}")
    return text.replace("Sentinel-", "S")


def _tile_name(tile: MetadataFile) -> str:
    text = tile.text("TILE_ID")
    match = _TILE.search(text)
    if not match:
        raise ProductError(f"{tile.where}: TILE_ID names no MGRS tile: {text!r}")
    return match[1]


def _crs(tile: MetadataFile) -> CRS:
    text = tile.text("HORIZONTAL_CS_CODE")
    try:
        return CRS.from_string(text)
    except CRSError as error:
        raise ProductError(f"{tile.where}: HORIZONTAL_CS_CODE {text!r} is unknown") from error


def _grids(tile: MetadataFile) -> dict[int, RasterGrid]:
    crs, grids = _crs(tile), {}
    for resolution in RESOLUTIONS_M:
        where = f"[@resolution='{resolution}']"
        ulx, uly, xdim, ydim = (
            tile.number(f"Geoposition{where}/{key}") for key in ("ULX", "ULY", "XDIM", "YDIM")
        )
        grids[resolution] = RasterGrid(
            height=int(tile.number(f"Size{where}/NROWS")),
            width=int(tile.number(f"Size{where}/NCOLS")),
            crs=crs,
            transform=Affine(xdim, 0, ulx, 0, ydim, uly),
        )
        if (xdim, ydim) != (resolution, -resolution):
            raise ProductError(f"{tile.where}: expected {resolution} m pixels, got {xdim} x {ydim}")
    finest = grids[10]
    for resolution, grid in grids.items():
        ratio = resolution // 10
        if (grid.height * ratio, grid.width * ratio) != (finest.height, finest.width):
            raise ProductError(
                f"{tile.where}: {grid.width} x {grid.height} px at {resolution} m do not "
                f"cover the {finest.width} x {finest.height} px at 10 m"
            )
    return grids


def _quantification(product: MetadataFile) -> float:
    value = product.number("QUANTIFICATION_VALUE")
    if value <= 0:
        raise ProductError(f"{product.where}: QUANTIFICATION_VALUE must be positive, got {value}")
    return value


def _specials(product: MetadataFile) -> dict[str, str]:
    return {
        (pair.findtext("SPECIAL_VALUE_TEXT") or "").strip(): (
            pair.findtext("SPECIAL_VALUE_INDEX") or ""
        ).strip()
        for pair in product.elements("Special_Values")
    }


def _special_value(product: MetadataFile, wanted: str, default: int | None = None) -> int:
    found = _specials(product)
    if wanted in found:
        return int(product.to_number(found[wanted], f"special value {wanted}"))
    if default is None:
        raise ProductError(f"{product.where} lacks the special value {wanted}")
    return default


def _band_names_by_id(product: MetadataFile) -> dict[str, str]:
    """Returns the band name of each XML band id, for example "8" -> "B8A"."""
    listed = {}
    for element in product.elements("Spectral_Information"):
        if element.get("bandId") and element.get("physicalBand"):
            try:
                listed[str(element.get("bandId"))] = band(str(element.get("physicalBand"))).name
            except RasterError as error:
                raise ProductError(f"{product.where}: {error}") from error
    # Products without the list use the order of the Products Specification Document.
    return listed or {str(i): name for i, name in enumerate(BAND_NAMES)}


def _offsets(product: MetadataFile, names: dict[str, str]) -> dict[str, float]:
    listed = {}
    for element in product.elements("RADIO_ADD_OFFSET"):
        # All other elements of real products call the attribute bandId.
        number = element.get("band_id", element.get("bandId"))
        if number not in names:
            raise ProductError(
                f"{product.where}: RADIO_ADD_OFFSET must have the band_id of one of the bands "
                f"{', '.join(names)}, got {number!r}; download the product again"
            )
        listed[names[number]] = product.to_number(element.text or "", "RADIO_ADD_OFFSET")
    if listed and set(listed) != set(BAND_NAMES):
        missing = ", ".join(n for n in BAND_NAMES if n not in listed)
        raise ProductError(f"{product.where}: RADIO_ADD_OFFSET is missing for {missing}")
    # Whether offsets apply is said by the list's presence alone; dates and baselines mislead,
    # because the whole archive was reprocessed.
    return listed or dict.fromkeys(BAND_NAMES, 0.0)


def _center_wavelengths(product: MetadataFile, names: dict[str, str]) -> dict[str, float]:
    found = {}
    for element in product.elements("Spectral_Information"):
        name, text = names.get(str(element.get("bandId"))), element.findtext("Wavelength/CENTRAL")
        if name and text:
            found[name] = product.to_number(text, "Wavelength/CENTRAL")
    return {b.name: found.get(b.name, b.center_nm) for b in SENTINEL2_L1C}


def _band_files(product: MetadataFile, container: Container) -> dict[str, str]:
    """Returns each band's file as the XML lists it, else as the file names tell."""
    listed = {
        f"{element.text.strip()}.jp2" for element in product.elements("IMAGE_FILE") if element.text
    }
    on_disk = [name for name in container.sizes if "/IMG_DATA/" in f"/{name}"]
    found = {}
    for name in BAND_NAMES:
        ending = f"_{name}.jp2"
        candidates = sorted(n for n in listed if n.endswith(ending) and n in container.sizes)
        candidates = candidates or sorted(n for n in on_disk if n.lower().endswith(ending.lower()))
        if candidates:
            found[name] = candidates[0]
    return found


def _masks(tile: MetadataFile, container: Container, names: dict[str, str]) -> tuple[MaskFile, ...]:
    masks = []
    for element in tile.elements("MASK_FILENAME"):
        name = (element.text or "").strip()
        if name in container.sizes and element.get("type"):
            kind = str(element.get("type")).removeprefix("MSK_")
            masks.append(MaskFile(kind=kind, band=names.get(str(element.get("bandId"))), name=name))
    listed = {mask.name for mask in masks}
    for name in container.sizes:
        match = _MASK_NAME.search(name)
        if match and "/QI_DATA/" in name and name not in listed:
            band_name = match[2] if match[2] in BAND_NAMES else None
            if not any(m.kind == match[1] and m.band == band_name for m in masks):
                masks.append(MaskFile(kind=match[1], band=band_name, name=name))
    order = {name: i for i, name in enumerate(BAND_NAMES)}
    return tuple(sorted(masks, key=lambda m: (m.kind, order.get(m.band or "", -1), m.name)))


def _failed_checks(product: MetadataFile) -> tuple[str, ...]:
    new_style = [
        (str(element.get("checkType")), (element.text or "").strip())
        for element in product.elements("quality_check")
    ]
    old_style = [
        (element.tag, (element.text or "").strip())
        for element in product.root.iter()
        if isinstance(element.tag, str) and element.tag.endswith("_QUALITY_FLAG")
    ]
    return tuple(sorted(name for name, result in new_style + old_style if result != "PASSED"))
