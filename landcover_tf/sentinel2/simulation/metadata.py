"""The XML of a SAFE product: product, tile and datastrip metadata, and the manifest."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from rasterio.warp import transform

from landcover_tf.bands import SENTINEL2_L1C
from landcover_tf.sentinel2.simulation.product import (
    NODATA,
    QUANTIFICATION,
    SATURATED,
    ProductIdentity,
    iso,
)
from landcover_tf.sentinel2.simulation.weather import Sun

# Solar irradiance of the bands in W/m2/um and U: MTD_MSIL1C.xml of a Sentinel-2A product.
_IRRADIANCE = (
    1913.57, 1941.63, 1822.61, 1512.79, 1425.56, 1288.32, 1163.19,
    1036.39, 955.19, 813.04, 367.15, 245.59, 85.25,
)  # fmt: skip
_EARTH_SUN = 0.9763
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def product_xml(product: ProductIdentity, *, cloud_percentage: float) -> bytes:
    """Returns MTD_MSIL1C.xml."""
    root = _root("Level-1C_User_Product", "User_Product_Level-1C", product)
    general = _add(root, "n1:General_Info")
    _product_info(_add(general, "Product_Info"), product)
    _image_characteristics(_add(general, "Product_Image_Characteristics"), product)
    geometric = _add(root, "n1:Geometric_Info")
    footprint = _add(_add(geometric, "Product_Footprint"), "Product_Footprint")
    _add(_add(footprint, "Global_Footprint"), "EXT_POS_LIST", footprint_degrees(product))
    reference = _add(geometric, "Coordinate_Reference_System")
    _add(reference, "GEO_TABLES", "EPSG", version="1")
    _add(reference, "HORIZONTAL_CS_TYPE", "GEOGRAPHIC")
    _add(_add(root, "n1:Auxiliary_Data_Info"), "GIPP_List")
    quality = _add(root, "n1:Quality_Indicators_Info")
    _add(quality, "Cloud_Coverage_Assessment", _number(cloud_percentage))
    if product.has_offset:
        _add(quality, "Snow_Coverage_Assessment", "0.0")
    technical = _add(quality, "Technical_Quality_Assessment")
    _add(technical, "DEGRADED_ANC_DATA_PERCENTAGE", "0.0")
    _add(technical, "DEGRADED_MSI_DATA_PERCENTAGE", "0.0")
    inspections = _add(_add(quality, "Quality_Control_Checks"), "Quality_Inspections")
    for check in ("FORMAT_CORRECTNESS", "GENERAL_QUALITY", "GEOMETRIC_QUALITY",
                  "RADIOMETRIC_QUALITY", "SENSOR_QUALITY"):  # fmt: skip
        _add(inspections, "quality_check", "PASSED", checkType=check)
    return _bytes(root)


def tile_xml(product: ProductIdentity, sun: Sun, *, cloud_percentage: float) -> bytes:
    """Returns MTD_TL.xml."""
    root = _root("Level-1C_Tile_ID", "S2_PDI_Level-1C_Tile_Metadata", product)
    general = _add(root, "n1:General_Info")
    _add(general, "TILE_ID", product.long_id("TL"), metadataLevel="Brief")
    _add(general, "DATASTRIP_ID", product.long_id("DS"), metadataLevel="Standard")
    _add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    _add(general, "SENSING_TIME", iso(product.sensing_time), metadataLevel="Standard")
    geometric = _add(root, "n1:Geometric_Info")
    _geocoding(_add(geometric, "Tile_Geocoding", metadataLevel="Brief"), product)
    _angles(_add(geometric, "Tile_Angles", metadataLevel="Standard"), product, sun)
    quality = _add(root, "n1:Quality_Indicators_Info", metadataLevel="Standard")
    content = _add(quality, "Image_Content_QI")
    _add(content, "CLOUDY_PIXEL_PERCENTAGE", _number(cloud_percentage))
    _add(content, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    if product.has_offset:
        _add(content, "SNOW_PIXEL_PERCENTAGE", "0.0")
    masks = _add(quality, "Pixel_Level_QI", geometry="FULL_RESOLUTION")
    for kind, band_id, path in product.mask_files():
        band = {} if band_id is None else {"bandId": str(band_id)}
        _add(masks, "MASK_FILENAME", path, type=kind, **band)
    preview = f"GRANULE/{product.granule}/QI_DATA/{product.stem}_PVI.jp2"
    _add(quality, "PVI_FILENAME", preview)
    return _bytes(root)


def datastrip_xml(product: ProductIdentity) -> bytes:
    """Returns a short MTD_DS.xml; readers of the bands never need it."""
    root = _root("Level-1C_DataStrip_ID", "S2_PDI_Level-1C_Datastrip_Metadata", product)
    general = _add(root, "n1:General_Info")
    _datatake(general, product)
    time = _add(general, "Datastrip_Time_Info")
    _add(time, "DATASTRIP_SENSING_START", iso(product.datatake_time))
    return _bytes(root)


def manifest_xml(product: ProductIdentity, folder: Path) -> bytes:
    """Returns manifest.safe with size and checksum of every file in `folder`.

    The ground segment moved from MD5 to SHA3-256.
    """
    name, digest = ("SHA3-256", "sha3_256") if product.has_offset else ("MD5", "md5")
    root = ET.Element(
        "xfdu:XFDU",
        {
            "xmlns:xfdu": "urn:ccsds:schema:xfdu:1",
            "xmlns:safe": "http://www.esa.int/safe/sentinel/1.1",
            "xmlns:gml": "http://www.opengis.net/gml",
            "version": "esa/safe/sentinel/1.1/sentinel-2/msi/archive_l1c_user_product",
        },
    )
    package = _add(root, "informationPackageMap")
    _add(package, "xfdu:contentUnit", unitType="Product_Level-1C")
    metadata = _add(_add(root, "metadataSection"), "metadataObject", ID="acquisitionPeriod")
    wrap = _add(_add(metadata, "metadataWrap", mimeType="text/xml"), "xmlData")
    _add(_add(wrap, "safe:acquisitionPeriod"), "safe:startTime", iso(product.datatake_time))
    section = _add(root, "dataObjectSection")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder).as_posix()
        entry = _add(section, "dataObject", ID=relative.replace("/", "_"))
        mime = "text/xml" if path.suffix in (".xml", ".gml") else "application/octet-stream"
        stream = _add(entry, "byteStream", mimeType=mime, size=str(path.stat().st_size))
        _add(stream, "fileLocation", locatorType="URL", href=f"./{relative}")
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, digest).hexdigest()
        _add(stream, "checksum", checksum, checksumName=name)
    return _bytes(root)


def footprint_degrees(product: ProductIdentity) -> str:
    """Returns latitude and longitude pairs around the raster, first point repeated."""
    west, north, side = product.tile.ulx, product.tile.uly, product.size_px * 10
    corners = [(0, 0), (side, 0), (side, -side), (0, -side), (0, 0)]
    longitude, latitude = transform(
        product.tile.crs,
        "EPSG:4326",
        [west + dx for dx, _ in corners],
        [north + dy for _, dy in corners],
    )
    return " ".join(f"{y:.9f} {x:.9f}" for x, y in zip(longitude, latitude, strict=True)) + " "


def _product_info(info: ET.Element, product: ProductIdentity) -> None:
    _add(info, "PRODUCT_START_TIME", iso(product.datatake_time))
    _add(info, "PRODUCT_STOP_TIME", iso(product.datatake_time))
    _add(info, "PRODUCT_URI", product.name)
    _add(info, "PROCESSING_LEVEL", "Level-1C")
    _add(info, "PRODUCT_TYPE", "S2MSI1C")
    _add(info, "PROCESSING_BASELINE", product.baseline_text)
    _add(info, "GENERATION_TIME", iso(product.generation_time))
    _add(info, "PREVIEW_IMAGE_URL", "Not applicable")
    _add(info, "PREVIEW_GEO_INFO", "Not applicable")
    _datatake(info, product)
    options = _add(info, "Query_Options", completeSingleTile="true")
    _add(options, "PRODUCT_FORMAT", "SAFE_COMPACT")
    granules = _add(_add(info, "Product_Organisation"), "Granule_List")
    granule = _add(
        granules,
        "Granule",
        datastripIdentifier=product.long_id("DS"),
        granuleIdentifier=product.long_id("TL"),
        imageFormat="JPEG2000",
    )
    for name in (*(band.name for band in SENTINEL2_L1C), "TCI"):
        _add(granule, "IMAGE_FILE", product.image_path(name).removesuffix(".jp2"))


def _datatake(parent: ET.Element, product: ProductIdentity) -> None:
    identifier = (
        f"G{product.satellite}_{product.datatake_time:%Y%m%dT%H%M%S}"
        f"_{product.absolute_orbit:06d}_N{product.baseline_text}"
    )
    datatake = _add(parent, "Datatake", datatakeIdentifier=identifier)
    _add(datatake, "SPACECRAFT_NAME", f"Sentinel-{product.satellite[1:]}")
    _add(datatake, "DATATAKE_TYPE", "INS-NOBS")
    _add(datatake, "DATATAKE_SENSING_START", iso(product.datatake_time))
    _add(datatake, "SENSING_ORBIT_NUMBER", str(product.relative_orbit))
    _add(datatake, "SENSING_ORBIT_DIRECTION", "DESCENDING")


def _image_characteristics(parent: ET.Element, product: ProductIdentity) -> None:
    for text, value in (("NODATA", NODATA), ("SATURATED", SATURATED)):
        special = _add(parent, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", text)
        _add(special, "SPECIAL_VALUE_INDEX", str(value))
    order = _add(parent, "Image_Display_Order")
    for channel, index in (("RED", 3), ("GREEN", 2), ("BLUE", 1)):
        _add(order, f"{channel}_CHANNEL", str(index))
    _add(parent, "QUANTIFICATION_VALUE", str(QUANTIFICATION), unit="none")
    bands = list(enumerate(SENTINEL2_L1C))
    if product.has_offset:
        offsets = _add(parent, "Radiometric_Offset_List")
        for index, _ in bands:
            _add(offsets, "RADIO_ADD_OFFSET", str(product.offset), band_id=str(index))
    conversion = _add(parent, "Reflectance_Conversion")
    _add(conversion, "U", str(_EARTH_SUN))
    irradiances = _add(conversion, "Solar_Irradiance_List")
    for index, irradiance in enumerate(_IRRADIANCE):
        _add(irradiances, "SOLAR_IRRADIANCE", str(irradiance), bandId=str(index), unit="W/m²/µm")
    spectra = _add(parent, "Spectral_Information_List")
    for index, band in bands:
        one = _add(spectra, "Spectral_Information", bandId=str(index), physicalBand=band.xml_name)
        _add(one, "RESOLUTION", str(band.resolution_m))
        wavelength = _add(one, "Wavelength")
        half = band.width_nm / 2
        for name, shift in (("MIN", -half), ("MAX", half), ("CENTRAL", 0.0)):
            _add(wavelength, name, f"{band.center_nm + shift:.1f}", unit="nm")
    _add(parent, "REFERENCE_BAND", "3")


def _geocoding(parent: ET.Element, product: ProductIdentity) -> None:
    tile = product.tile
    side = "N" if tile.epsg < 32700 else "S"
    _add(parent, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {tile.epsg % 100}{side}")
    _add(parent, "HORIZONTAL_CS_CODE", tile.crs)
    for resolution in (10, 20, 60):
        size = _add(parent, "Size", resolution=str(resolution))
        for name in ("NROWS", "NCOLS"):
            _add(size, name, str(product.size_px * 10 // resolution))
    for resolution in (10, 20, 60):
        position = _add(parent, "Geoposition", resolution=str(resolution))
        _add(position, "ULX", str(tile.ulx))
        _add(position, "ULY", str(tile.uly))
        _add(position, "XDIM", str(resolution))
        _add(position, "YDIM", str(-resolution))


def _angles(parent: ET.Element, product: ProductIdentity, sun: Sun) -> None:
    # Nodes every 5 km; the sun's height changes by about a degree over a whole tile.
    nodes = product.size_px * 10 // 5000 + 2

    def zenith(row: int, col: int) -> float:
        return sun.zenith + 0.04 * (row - col / 2)

    def azimuth(row: int, col: int) -> float:
        return sun.azimuth + 0.05 * (col - row / 2)

    grid = _add(parent, "Sun_Angles_Grid")
    _angle_grid(_add(grid, "Zenith"), nodes, zenith)
    _angle_grid(_add(grid, "Azimuth"), nodes, azimuth)
    mean = _add(parent, "Mean_Sun_Angle")
    _add(mean, "ZENITH_ANGLE", f"{sun.zenith:.6f}", unit="deg")
    _add(mean, "AZIMUTH_ANGLE", f"{sun.azimuth:.6f}", unit="deg")
    views = _add(parent, "Mean_Viewing_Incidence_Angle_List")
    for index in range(len(SENTINEL2_L1C)):
        view = _add(views, "Mean_Viewing_Incidence_Angle", bandId=str(index))
        _add(view, "ZENITH_ANGLE", f"{4.1 + 0.03 * index:.6f}", unit="deg")
        _add(view, "AZIMUTH_ANGLE", "105.000000", unit="deg")


def _angle_grid(parent: ET.Element, nodes: int, angle: Callable[[int, int], float]) -> None:
    _add(parent, "COL_STEP", "5000", unit="m")
    _add(parent, "ROW_STEP", "5000", unit="m")
    values = _add(parent, "Values_List")
    for row in range(nodes):
        _add(values, "VALUES", " ".join(f"{angle(row, col):.4f}" for col in range(nodes)))


def _root(tag: str, schema: str, product: ProductIdentity) -> ET.Element:
    # The schema number grew with the baselines; readers must not depend on it.
    number = 14 if product.has_offset else 12
    namespace = f"https://psd-{number}.sentinel2.eo.esa.int/PSD/{schema}.xsd"
    return ET.Element(f"n1:{tag}", {"xmlns:n1": namespace, "xmlns:xsi": _XSI})


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child


def _number(value: float) -> str:
    return f"{value:.12g}"


def _bytes(root: ET.Element) -> bytes:
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n' + body
