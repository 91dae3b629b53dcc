"""What the XML of a Level-1C product says, ready for use."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from landcover_tf.errors import ProductError
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import opened
from landcover_tf.sentinel2.container import Container


def attribution(sensing_times: Iterable[str]) -> str:
    """Returns the notice that the terms of Sentinel data ask of what is made of them.

    Args:
        sensing_times: Sensing times of the images, ISO 8601; their years are named.
    """
    # The wording of the Legal Notice on the use of Copernicus Sentinel Data, of adapted data.
    years = ", ".join(sorted({time[:4] for time in sensing_times}))
    return f"Contains modified Copernicus Sentinel data {years}"


@dataclass(frozen=True, kw_only=True)
class MaskFile:
    """One quality mask of a product."""

    kind: str
    """CLASSI, QUALIT or DETFOO (raster); CLOUDS, NODATA, DEFECT, ... (GML vectors)."""
    band: str | None
    """Band name, or None for masks of all bands."""
    name: str
    """Path relative to the product's root."""

    @property
    def suffix(self) -> str:
        """Suffix of the file in small letters: .jp2 or .gml."""
        return PurePosixPath(self.name).suffix.lower()


@dataclass(frozen=True, kw_only=True)
class SafeProduct:
    """What the XML of one product says; nothing is a constant of this program."""

    container: Container
    name: str
    """PRODUCT_URI without .SAFE, or else the folder's name."""
    satellite: str
    """S2A, S2B, S2C, ..."""
    baseline: tuple[int, int]
    """Processing baseline as integers, so that (5, 11) > (4, 0)."""
    datatake_start: datetime
    """Start of the data take, UTC; the same in every reprocessing."""
    datastrip_start: str | None
    """Start of the part of the data take that one ground station received, as the XML writes it;
    a tile where two parts meet comes as two products, each with the pixels of one."""
    sensing_time: datetime
    """When this tile was seen, UTC."""
    tile: str
    """MGRS tile, for example 34SEH."""
    orbit: int
    """Relative orbit, 1-143."""
    grids: dict[int, RasterGrid] = field(hash=False)
    """By resolution in m: 10, 20, 60; all in the tile's CRS."""
    quantification: float
    """Digital numbers per unit of reflectance."""
    offsets: dict[str, float] = field(hash=False)
    """Added to the digital number before quantification, by band; 0 where the XML lists none."""
    nodata: int
    saturated: int
    band_files: dict[str, str] = field(hash=False)
    """Path relative to the root, by band; a band whose file is absent is left out."""
    masks: tuple[MaskFile, ...]
    sun_zenith_deg: float | None
    sun_azimuth_deg: float | None
    """Clockwise from north; both angles are None where the XML lacks one."""
    cloud_percentage: float | None
    center_nm: dict[str, float] = field(hash=False)
    """Central wavelength of this satellite's bands."""
    failed_quality_checks: tuple[str, ...]
    """Names of quality inspections that did not pass."""
    footprint: str = ""
    """Ring around its pixels, latitude and longitude in turn; empty where the XML has none."""
    lacking: tuple[str, ...] = ()
    """What the XML should say and does not, of what an image can be made without."""

    @property
    def path(self) -> Path:
        """The folder or .zip."""
        return self.container.path

    @property
    def crs(self) -> CRS:
        """CRS of the tile: a UTM zone."""
        return self.grids[10].crs

    @property
    def baseline_text(self) -> str:
        """The baseline as ESA writes it, for example 05.11."""
        return f"{self.baseline[0]:02d}.{self.baseline[1]:02d}"

    def band_file(self, name: str) -> str:
        """Returns the path of a band's JP2 relative to the root.

        Raises:
            ProductError: The product has no file for that band.
        """
        if name not in self.band_files:
            raise ProductError(f"{self.path} has no file of band {name}; download it again")
        return self.band_files[name]

    def band_path(self, name: str) -> str:
        """Returns the path of a band's JP2 for rasterio; raises as `band_file`."""
        return self.container.gdal_path(self.band_file(name))

    def opened_band(self, name: str) -> AbstractContextManager[rasterio.DatasetReader]:
        """Returns a context with a band's file; a damaged one raises ProductError."""
        return opened(self.band_path(name), f"band {name}", error=ProductError)

    def open_raster(self, name: str, grid: RasterGrid) -> rasterio.DatasetReader:
        """Returns a band or raster mask, open for reading.

        Args:
            name: Path relative to the root.
            grid: Where the XML says that its pixels are.

        Raises:
            ProductError: It cannot be opened or has another size.
        """
        try:
            dataset = rasterio.open(self.container.gdal_path(name))
        except RasterioError as error:
            raise ProductError(
                f"{name} in {self.path} cannot be opened ({error}); download the product again"
            ) from error
        if dataset.shape != grid.shape:
            shape = f"{dataset.width} x {dataset.height}"
            dataset.close()
            raise ProductError(
                f"{name} in {self.path} has {shape} px; MTD_TL.xml says {grid.width} x "
                f"{grid.height}"
            )
        return dataset

    def mask_files(self, kind: str) -> list[MaskFile]:
        """Returns the masks of one kind, in band order."""
        return [mask for mask in self.masks if mask.kind == kind]
