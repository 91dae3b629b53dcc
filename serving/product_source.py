"""A Level-1C SAFE folder or zip as a source: its bands at 10 m, decoded strip by strip."""

import sys
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio

from landcover_tf.bands import BAND_NAMES, counterparts, positions, same_name
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import ProductError, RasterError
from landcover_tf.grid import Window
from landcover_tf.model_info import ModelInfo
from landcover_tf.sentinel2.band_reader import GDAL_CACHE_BYTES
from landcover_tf.sentinel2.checks import check_product, checksum_findings
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.quality import read_product_clouds, read_quality_bits
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.scene import STORED_NODATA, STORED_OFFSET, STORED_SCALE, Scene
from landcover_tf.system.executors import usable_cores
from landcover_tf.upsampling import Upsampling
from landcover_tf.validity import ValidityBit, has_bit
from landcover_tf.visuals.pictures import TRUE_COLOUR
from serving.product_clouds import add_cloud_bits
from serving.raster_io import STRIP_ROWS
from serving.stored_values import Conversion, finish_pixels

_METADATA = ("MTD_MSIL1C.xml", "MTD_TL.xml")
_OTHER_CLOUDS = (
    "prepare it with --cloud-source s2cloudless or with --cloud-mask and predict on the prepared "
    "scene"
)


class ProductSource:
    """A product read as `landcover prepare` would store it, without the prepared scene."""

    sequential = True
    part_rows = STRIP_ROWS

    def __init__(
        self,
        path: Path,
        info: ModelInfo,
        *,
        upsampling: Upsampling,
        mask_clouds: bool,
        checksums: bool,
    ) -> None:
        """Opens a product.

        Args:
            path: SAFE folder or zip.
            info: The model's contract.
            upsampling: How the 20 m and 60 m bands come to 10 m.
            mask_clouds: Whether to find the pixels under clouds and shadows as well.
            checksums: Whether to compare the files with the manifest before pixels are read.

        Raises:
            ProductError: The product is damaged or not Level-1C.
            RasterError: The model needs other bands or another resolution.
        """
        product = open_product(path)
        if info.resolution_m not in (None, 10.0):
            raise RasterError(
                f"{path} has pixels of 10 m, the model was trained on {info.resolution_m:g} m; "
                "prepare the product and pass the prepared scene with --resample"
            )
        self.path = path
        self.name = product.name
        self.grid = product.grids[10]
        self.tags: Mapping[str, str] = {
            "product": product.name,
            "baseline": product.baseline_text,
            "sensing_time": product.sensing_time.isoformat(),
            "tile": product.tile,
            "orbit": str(product.orbit),
        }
        self._info = info
        self._product = product
        named = {same_name(name, info.band_names): name for name in BAND_NAMES}
        placed = counterparts(info.band_names, [*named])
        self.taken: Mapping[str, str] = {
            name: named[found] for name, found in placed.items() if named[found] != name
        }
        read = [self.taken.get(name, name) for name in info.band_names]
        self._indexes = positions(read, BAND_NAMES, str(path))
        stored = [
            BandInfo(name=name, scale=STORED_SCALE, offset=STORED_OFFSET)
            for name in info.band_names
        ]
        self._conversion = Conversion.between(stored, info.bands)
        self.upsampling: Upsampling | None = upsampling
        percentage = product.cloud_percentage
        self.cloudy_fraction = None if percentage is None else percentage / 100
        self.files: Collection[Path] = _files_of(product)
        self._method = upsampling
        self._mask_clouds = mask_clouds
        self._unchecked = checksums
        self._scene: Scene | None = None
        self._validity: _PackedRows | None = None

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES, GDAL_NUM_THREADS="ALL_CPUS"):
            scene, validity = self._opened()
            known = validity.rows(window.row_off, window.row_end)
            known = known[:, window.col_off : window.col_end]
            blank = has_bit(known, ValidityBit.NODATA)
            fine = scene.read_fine(window)
            planes, bits = scene.compose(window, fine, blank if blank.any() else None)
        image = np.empty((*bits.shape, len(self._indexes)), planes.dtype)
        for channel, index in enumerate(self._indexes):
            image[..., channel] = planes[index]
        return finish_pixels(image, bits | known, STORED_NODATA, self._info, self._conversion)

    def inspect(self) -> list[str]:
        """Returns the warnings of the checks that `landcover prepare` makes.

        Raises:
            ProductError: They find what is fatal.
        """
        needed = self._mask_clouds
        found = check_product(
            self._product,
            checksums=False,
            needs_cloud_mask=needed,
            other_clouds=_OTHER_CLOUDS,
            needs_sun=needed,
        )
        fatal = [finding.message for finding in found if finding.severity == "fatal"]
        if fatal:
            raise ProductError(fatal[0] + _and_more(len(fatal) - 1))
        return [finding.message for finding in found if finding.severity == "warning"]

    def check(self) -> None:
        """Compares the files with the manifest, once.

        Raises:
            ProductError: A file is not as the manifest lists it.
        """
        if self._unchecked:
            _require_checksums(self._product)
            self._unchecked = False

    def preview(self, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        planes = []
        for name in TRUE_COLOUR:
            with self._product.opened_band(name) as dataset:
                planes.append(dataset.read(1, out_shape=shape))
        image = np.stack(planes, axis=-1)
        offsets = np.array([self._product.offsets[name] for name in TRUE_COLOUR], np.float32)
        reflectance = (image + offsets) / np.float32(self._product.quantification)
        return reflectance, TRUE_COLOUR, (image != self._product.nodata).all(axis=-1)

    def owns(self, path: Path) -> bool:
        return path.exists() and path.resolve().is_relative_to(self.path.resolve())

    def close(self) -> None:
        if self._scene is not None:
            self._scene.close()
            self._scene = self._validity = None

    def _opened(self) -> "tuple[Scene, _PackedRows]":
        """Returns the scene and the bits of its quality masks.

        They are read when pixels are first wanted, so that a plan costs nothing. So are all files
        to compare them with the manifest: in the reader's thread, while the engine loads.
        """
        self.check()
        if self._scene is None or self._validity is None:
            # One thread: the band files are read inside, and GDAL's handles are not shareable.
            self._scene = Scene(
                self._product,
                resampling=self._method.resampling,
                sharpening=self._method.sharpening,
                cloudy_60m=self._cloudy(),
                threads=1,
            )
            bits = read_quality_bits(self._product, threads=usable_cores())
            if self._mask_clouds:
                add_cloud_bits(self._scene, bits)
            self._validity = _PackedRows(bits)
        return self._scene, self._validity

    def _cloudy(self) -> np.ndarray | None:
        """Returns the pixels that `landcover prepare` leaves out where it fits the sharpening."""
        if self._method.sharpening == "none":
            return None
        found = read_product_clouds(self._product)
        return None if found is None else found.cloudy


def _files_of(product: SafeProduct) -> list[Path]:
    """Returns the .zip, or the files in a folder that the scene is made of.

    Previews and what other programs leave in the folder are not among them.
    """
    if product.container.zipped:
        return [product.path]
    names = [*product.band_files.values(), *(mask.name for mask in product.masks)]
    names += [n for n in product.container.sizes if PurePosixPath(n).name in _METADATA]
    return [product.path / name for name in names]


def _and_more(problems: int) -> str:
    if not problems:
        return ""
    return f" (of {problems + 1} problems; `landcover prepare --check-only` lists all)"


def _require_checksums(product: SafeProduct) -> None:
    """Raises ProductError if files are not as the manifest lists them."""
    findings = checksum_findings(product)
    for finding in findings:
        if finding.severity != "fatal":
            print(f"{finding.severity}: {finding.message}", file=sys.stderr)
    damaged = [finding for finding in findings if finding.severity == "fatal"]
    if damaged:
        several = len(damaged) > 1
        problem = "are not as manifest.safe lists them" if several else damaged[0].problem
        raise ProductError(
            f"{', '.join(f.file for f in damaged)} in {product.path} {problem}; download the "
            "product again (--no-checksums leaves the comparison out)"
        )


class _PackedRows:
    """A raster of long runs of equal bytes, held compressed in strips of rows."""

    def __init__(self, raster: np.ndarray) -> None:
        self._width = raster.shape[1]
        starts = range(0, len(raster), STRIP_ROWS)
        self._strips = [zlib.compress(raster[r : r + STRIP_ROWS].tobytes(), 1) for r in starts]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Returns rows [start, stop), uint8 [rows, width]."""
        first, last = start // STRIP_ROWS, -(-stop // STRIP_ROWS)
        content = b"".join(zlib.decompress(strip) for strip in self._strips[first:last])
        rows = np.frombuffer(content, np.uint8).reshape(-1, self._width)
        return rows[start - first * STRIP_ROWS : stop - first * STRIP_ROWS]
