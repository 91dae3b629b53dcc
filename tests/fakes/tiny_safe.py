"""Writes Level-1C products of a few pixels whose every value a test chooses."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
RESOLUTION = {n: 10 for n in ("B02", "B03", "B04", "B08")} | {n: 60 for n in ("B01", "B09", "B10")}
ULX, ULY = 499980, 4200000

_PRODUCT = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2025-09-25T09:20:41.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
<PROCESSING_LEVEL>{level}</PROCESSING_LEVEL><PRODUCT_TYPE>S2MSI1C</PRODUCT_TYPE>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-{satellite}</SPACECRAFT_NAME>
<DATATAKE_SENSING_START>2025-09-25T09:20:41.024Z</DATATAKE_SENSING_START>
<SENSING_ORBIT_NUMBER>93</SENSING_ORBIT_NUMBER></Datatake>
<Product_Organisation><Granule_List><Granule>{images}</Granule></Granule_List>
</Product_Organisation></Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
<QUANTIFICATION_VALUE unit="none">{quantification}</QUANTIFICATION_VALUE>
{offsets}<Spectral_Information_List>{spectral}</Spectral_Information_List>
</Product_Image_Characteristics></n1:General_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>7.5</Cloud_Coverage_Assessment>
<quality_check checkType="SENSOR_QUALITY">{quality}</quality_check>
</n1:Quality_Indicators_Info></n1:Level-1C_User_Product>
"""

_TILE = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_Tile_ID xmlns:n1="https://psd-12.sentinel2.eo.esa.int/PSD/Tile_Metadata.xsd">
<n1:General_Info><TILE_ID>S2A_OPER_MSI_L1C_TL_2APS_20250925T111407_A005600_T{tile}_N05.11</TILE_ID>
<SENSING_TIME>2025-09-25T09:31:02.500Z</SENSING_TIME></n1:General_Info>
<n1:Geometric_Info><Tile_Geocoding>
<HORIZONTAL_CS_CODE>EPSG:{epsg}</HORIZONTAL_CS_CODE>{grids}</Tile_Geocoding>
<Tile_Angles><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">{zenith}</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">{azimuth}</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles>
</n1:Geometric_Info><n1:Quality_Indicators_Info><Pixel_Level_QI>{masks}</Pixel_Level_QI>
</n1:Quality_Indicators_Info></n1:Level-1C_Tile_ID>
"""


def band_shape(name: str, size_px: int) -> tuple[int, int]:
    """Returns the shape of a band in a product of `size_px` at 10 m."""
    side = size_px * 10 // RESOLUTION.get(name, 20)
    return side, side


def smooth_dn(name: str, size_px: int, seed: int = 0) -> np.ndarray:
    """Returns plausible digital numbers of a band, uint16."""
    rng = np.random.default_rng([seed, BANDS.index(name)])
    return rng.integers(1200, 4000, band_shape(name, size_px)).astype(np.uint16)


def write_safe(
    parent: Path,
    *,
    size_px: int = 120,
    dn: Mapping[str, np.ndarray] | None = None,
    baseline: str = "05.11",
    offsets: Sequence[int] | None = (-1000,) * 13,
    satellite: str = "2A",
    tile: str = "34SEH",
    epsg: int = 32634,
    level: str = "Level-1C",
    quantification: str = "10000",
    quality: str = "PASSED",
    zenith: float = 45.0,
    azimuth: float = 135.0,
    discriminator: str = "20250925T111407",
    masks: Mapping[str, np.ndarray | str] | None = None,
    manifest: bool = False,
) -> Path:
    """Returns the SAFE folder that it writes.

    Args:
        parent: Folder to write into.
        size_px: Height and width at 10 m, a multiple of 6.
        dn: Digital numbers of some bands; the others are random.
        baseline: NN.NN.
        offsets: RADIO_ADD_OFFSET by band id; None leaves the list out.
        satellite: 2A, 2B, 2C.
        tile: MGRS tile.
        epsg: CRS of the tile.
        level: PROCESSING_LEVEL.
        quantification: QUANTIFICATION_VALUE.
        quality: Result of the sensor quality check.
        zenith: Mean sun zenith in degrees.
        azimuth: Mean sun azimuth in degrees.
        discriminator: Last part of the name.
        masks: Content of QI_DATA files by name; arrays [bands, height, width] or GML text.
        manifest: Whether to write manifest.safe with MD5 checksums.
    """
    name = (
        f"S{satellite}_MSIL1C_20250925T092041_N{baseline.replace('.', '')}_R093_T{tile}_"
        f"{discriminator}"
    )
    root = parent / f"{name}.SAFE"
    granule = f"GRANULE/L1C_T{tile}_A005600_20250925T092040"
    prefix = f"{granule}/IMG_DATA/T{tile}_20250925T092041_"
    (root / granule / "IMG_DATA").mkdir(parents=True)
    (root / granule / "QI_DATA").mkdir()
    for band in BANDS:
        values = (dn or {}).get(band)
        write_jp2(
            root / f"{prefix}{band}.jp2",
            smooth_dn(band, size_px) if values is None else values,
            RESOLUTION.get(band, 20),
            epsg,
        )
    mask_lines = []
    for file, content in (masks or {}).items():
        path = root / granule / "QI_DATA" / file
        if isinstance(content, str):
            path.write_text(content)
        else:
            write_jp2(path, content, size_px * 10 // content.shape[-1], epsg)
        kind, band = path.stem.rsplit("_", 1)
        band_id = f' bandId="{BANDS.index(band)}"' if band in BANDS else ""
        mask_lines.append(
            f'<MASK_FILENAME type="{kind}"{band_id}>{granule}/QI_DATA/{file}</MASK_FILENAME>'
        )
    listed = "".join(
        f'<RADIO_ADD_OFFSET band_id="{i}">{v}</RADIO_ADD_OFFSET>'
        for i, v in enumerate(offsets or ())
    )
    (root / "MTD_MSIL1C.xml").write_text(
        _PRODUCT.format(
            name=name,
            level=level,
            baseline=baseline,
            satellite=satellite,
            quantification=quantification,
            quality=quality,
            images="".join(f"<IMAGE_FILE>{prefix}{b}</IMAGE_FILE>" for b in BANDS),
            offsets=f"<Radiometric_Offset_List>{listed}</Radiometric_Offset_List>"
            if listed
            else "",
            spectral="".join(
                f'<Spectral_Information bandId="{i}" physicalBand="B{b[1:].lstrip("0")}">'
                f"<RESOLUTION>{RESOLUTION.get(b, 20)}</RESOLUTION>"
                f"<Wavelength><CENTRAL>{400 + i}.5</CENTRAL></Wavelength></Spectral_Information>"
                for i, b in enumerate(BANDS)
            ),
        )
    )
    grids = "".join(
        f'<Size resolution="{r}"><NROWS>{size_px * 10 // r}</NROWS><NCOLS>{size_px * 10 // r}'
        f'</NCOLS></Size><Geoposition resolution="{r}"><ULX>{ULX}</ULX><ULY>{ULY}</ULY>'
        f"<XDIM>{r}</XDIM><YDIM>-{r}</YDIM></Geoposition>"
        for r in (10, 20, 60)
    )
    (root / granule / "MTD_TL.xml").write_text(
        _TILE.format(
            tile=tile, epsg=epsg, grids=grids, zenith=zenith, azimuth=azimuth,
            masks="".join(mask_lines),
        )
    )  # fmt: skip
    if manifest:
        write_manifest(root)
    return root


def write_jp2(path: Path, values: np.ndarray, resolution: int, epsg: int) -> None:
    """Writes a lossless, georeferenced JP2; `values` are [height, width] or [bands, ...]."""
    planes = values if values.ndim == 3 else values[None]
    count, height, width = planes.shape
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", height=height, width=width, count=count,
        dtype=planes.dtype, crs=f"EPSG:{epsg}", QUALITY="100", REVERSIBLE="YES", YCBCR420="NO",
        transform=Affine(resolution, 0, ULX, 0, -resolution, ULY),
        tiled=True, blockxsize=64, blockysize=64,
    ) as dataset:  # fmt: skip
        dataset.write(planes)


def write_manifest(root: Path) -> None:
    """Writes manifest.safe with the MD5 checksum of every file."""
    entries = "".join(
        f'<dataObject><byteStream size="{f.stat().st_size}"><fileLocation locatorType="URL" '
        f'href="./{f.relative_to(root)}"/><checksum checksumName="MD5">'
        f"{hashlib.md5(f.read_bytes()).hexdigest()}</checksum></byteStream></dataObject>"
        for f in sorted(root.rglob("*"))
        if f.is_file()
    )
    (root / "manifest.safe").write_text(
        f'<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">{entries}</xfdu:XFDU>'
    )


def band_file(root: Path, band: str) -> Path:
    """Returns the file of a band."""
    (found,) = root.glob(f"GRANULE/*/IMG_DATA/*_{band}.jp2")
    return found


def zip_safe(root: Path, target: Path) -> Path:
    """Returns the .zip that it writes of a SAFE folder."""
    made = shutil.make_archive(str(target.with_suffix("")), "zip", root.parent, root.name)
    return Path(made)


def gml(features: Sequence[tuple[str, str]], dimension: int = 2) -> str:
    """Returns a GML mask with (type, posList) features."""
    members = "".join(
        f'<eop:MaskFeature gml:id="{kind}.{i}"><eop:maskType codeSpace="x">{kind}</eop:maskType>'
        f"<eop:extentOf><gml:Polygon><gml:exterior><gml:LinearRing>"
        f'<gml:posList srsDimension="{dimension}">{positions}</gml:posList>'
        f"</gml:LinearRing></gml:exterior></gml:Polygon></eop:extentOf></eop:MaskFeature>"
        for i, (kind, positions) in enumerate(features)
    )
    return (
        '<?xml version="1.0"?><eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" '
        'xmlns:gml="http://www.opengis.net/gml/3.2">'
        f"<eop:maskMembers>{members}</eop:maskMembers></eop:Mask>"
    )


def square(left_m: float, top_m: float, side_m: float) -> str:
    """Returns the posList of a square, in m right of and below the tile's corner."""
    x0, y0 = ULX + left_m, ULY - top_m
    x1, y1 = x0 + side_m, y0 - side_m
    return f"{x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1} {x0} {y0}"


def edit(path: Path, old: str, new: str) -> None:
    """Puts another text into a file, which must hold the old one."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
