"""One product made into one prepared scene, strip by strip."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import rasterio

from landcover_tf.bands import BAND_NAMES, band
from landcover_tf.errors import LabelError
from landcover_tf.rasters.raster_windows import add_rows, rasterio_window, require_kept
from landcover_tf.sentinel2 import clouds, labels, prepared, resample, scene_inputs
from landcover_tf.sentinel2.band_reader import GDAL_CACHE_BYTES
from landcover_tf.sentinel2.cloud_choice import choose_clouds
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.pansharpen import PREDICTORS
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.quality import read_product_clouds, read_quality_bits
from landcover_tf.sentinel2.quicklook import save_quicklook
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.scene import STORED_NODATA, STORED_OFFSET, STORED_SCALE, Scene
from landcover_tf.sentinel2.settings import Job
from landcover_tf.system import locks
from landcover_tf.system.files import atomic_folder, require_space, write_json
from landcover_tf.system.progress import progress
from landcover_tf.system.provenance import software_versions
from landcover_tf.validity import ValidityBit, bits_by_name, fractions_of_counts, has_bit

STRIP_ROWS = 1024
"""Rows of a strip: one row of inner tiles of the 10 m JP2 files, two rows of output tiles."""

# 13 bands of 1.3 bytes, ZSTD with differences.
_BYTES_PER_PIXEL = 17


def scene_bytes(product: SafeProduct) -> int:
    """Returns the disk space that the prepared scene of a product takes at most."""
    return math.prod(product.grids[10].shape) * _BYTES_PER_PIXEL


def prepare_product(job: Job) -> Path:
    """Returns the folder of the prepared scene it writes, whole or not at all.

    Raises:
        LandCoverError: The product, the labels or the cloud mask are unfit, the disk is full, or
            another process prepares the product into the same folder.
    """
    product = open_product(job.product)
    target = job.output_dir / product.name
    require_space(job.output_dir, scene_bytes(product), f"the scene {product.name}")
    # An int is bytes here; a small number would cripple every decode.
    options = {"GDAL_CACHEMAX": GDAL_CACHE_BYTES, "GDAL_NUM_THREADS": str(job.threads)}
    busy = f"another process prepares {target}; wait for its end, or choose another --output-dir"
    with (
        locks.alone(job.output_dir / f".{product.name}.lock", busy),
        rasterio.Env(**options),
        atomic_folder(target, replace=job.overwrite) as folder,
    ):
        _Preparation(product, job, folder).run()
    return target


class _Preparation:
    """The steps of one preparation and what they share."""

    def __init__(self, product: SafeProduct, job: Job, folder: Path) -> None:
        self.product = product
        self.settings = job.settings
        self.job = job
        self.folder = folder
        self.grid = product.grids[10]
        self.means: dict[str, np.ndarray] = {}
        self.cloud_cover: dict[str, float | None] = {}
        self.checksums: dict[str, tuple[int, ...]] = {}
        """Checksums of the pixels of each written raster."""
        self.failed = Event()
        """Set once the scene will not be finished, so that no more of it is read back."""

    def run(self) -> None:
        # Before they are read: a file that is changed meanwhile is another afterwards.
        files = scene_inputs.files_of(self.product, self.settings, self.job.labels)
        inputs = scene_inputs.describe(files, self.settings)
        product_clouds = read_product_clouds(self.product)
        validity = read_quality_bits(self.product, threads=self.job.threads)
        with Scene(
            self.product,
            resampling=self.settings.resampling,
            sharpening=self.settings.sharpening,
            cloudy_60m=None if product_clouds is None else product_clouds.cloudy,
            threads=self.job.threads,
        ) as scene:
            scene.load()
            self._write_image(scene, validity)
            self._add_coarse_means(scene)
        with ThreadPoolExecutor(1) as reader:
            # image.tif takes longest by far, and most of what follows keeps one core busy.
            image_kept = reader.submit(self._read_back, prepared.IMAGE)
            try:
                label_part = self._write_others(validity, product_clouds)
                image_kept.result()
            except BaseException:
                self.failed.set()
                raise
        self._write_document(validity, label_part, inputs)

    def _write_others(self, validity: np.ndarray, own: CloudMask | None) -> dict[str, Any] | None:
        """Writes the other rasters and the quicklook; returns scene.json's part of the labels."""
        chosen, self.cloud_cover = choose_clouds(
            self.product, self.settings, own=own, validity=validity, means=self.means
        )
        self._add_cloud_bits(validity, chosen)
        self._write_raster(prepared.VALIDITY, validity, nodata=None)
        codes, label_part = self._write_labels()
        legend = None if codes is None else self.settings.legend
        save_quicklook(
            self.folder, self.means, validity, codes, legend=legend, title=self.product.name
        )
        for name in [name for name in self.checksums if name != prepared.IMAGE]:
            self._read_back(name)
        return label_part

    def _write_image(self, scene: Scene, validity: np.ndarray) -> None:
        """Writes image.tif and adds NODATA and SATURATED bits; keeps 60 m means of 10 m bands."""
        sums = {name: np.zeros(self._coarse_shape, np.float32) for name in PREDICTORS}
        checksums: tuple[int, ...] = (0,) * len(BAND_NAMES)
        image = prepared.create_raster(
            self.folder / prepared.IMAGE,
            grid=self.grid,
            count=len(BAND_NAMES),
            dtype="uint16",
            nodata=STORED_NODATA,
            threads=self.job.threads,
        )
        with image, ThreadPoolExecutor(1) as decoder:
            prepared.describe_bands(
                image, BAND_NAMES, scale=STORED_SCALE, offset=STORED_OFFSET, tags=self._tags()
            )
            strips = list(self.grid.window.strips(STRIP_ROWS))
            # The next strip is decoded while this one is interpolated and written.
            coming = decoder.submit(scene.read_fine, strips[0])
            for i, strip in enumerate(
                progress(strips, label=f"{self.product.tile} {self.product.sensing_time:%F}")
            ):
                fine = coming.result()
                if i + 1 < len(strips):
                    coming = decoder.submit(scene.read_fine, strips[i + 1])
                invalid = has_bit(validity[strip.slices], ValidityBit.NODATA)
                planes, bits = scene.compose(strip, fine, invalid if invalid.any() else None)
                image.write(planes, window=rasterio_window(strip))
                checksums = add_rows(checksums, planes)
                validity[strip.slices] |= bits
                for name in PREDICTORS:
                    plane = planes[BAND_NAMES.index(name)]
                    resample.add_block_sums(plane, strip.row_off, sums[name])
        self.checksums[prepared.IMAGE] = checksums
        for name, total in sums.items():
            self.means[name] = total / np.float32(36) * STORED_SCALE + STORED_OFFSET

    @property
    def _coarse_shape(self) -> tuple[int, int]:
        return self.product.grids[60].shape

    def _tags(self) -> dict[str, str]:
        return {
            "product": self.product.name,
            "baseline": self.product.baseline_text,
            "sensing_time": self.product.sensing_time.isoformat(),
            "scale": str(STORED_SCALE),
            "offset": str(STORED_OFFSET),
            "AREA_OR_POINT": "Area",
        }

    def _add_coarse_means(self, scene: Scene) -> None:
        """Adds 60 m reflectance of the other bands where the cloud detector needs them."""
        if self.settings.cloud_source != "s2cloudless":
            return
        for name in clouds.S2CLOUDLESS_BANDS:
            if name in self.means:
                continue
            resolution_m = band(name).resolution_m
            whole = self.product.grids[resolution_m].window
            mean = resample.block_mean(
                scene.bands.read(name, whole).astype(np.float32), 60 // resolution_m
            )
            self.means[name] = (mean + self.product.offsets[name]) / self.product.quantification

    def _add_cloud_bits(self, validity: np.ndarray, chosen: CloudMask) -> None:
        bits = clouds.cloud_bits(
            chosen,
            self.product,
            green=self.means["B03"],
            nir=self.means["B08"],
            buffer_m=self.settings.cloud_buffer_m,
            shadows=self.settings.cloud_shadows,
            dark_reflectance=self.settings.shadow_nir_reflectance,
        )
        clouds.add_coarse_bits(validity, bits)

    def _write_raster(self, name: str, pixels: np.ndarray, *, nodata: int | None) -> None:
        with prepared.create_raster(
            self.folder / name,
            grid=self.grid,
            count=1,
            dtype="uint8",
            nodata=nodata,
            threads=self.job.threads,
        ) as dataset:
            dataset.write(pixels, 1)
            dataset.update_tags(product=self.product.name)
            if name == prepared.VALIDITY:
                dataset.update_tags(**{name: str(bit) for name, bit in bits_by_name().items()})
        self.checksums[name] = add_rows((0,), pixels[np.newaxis])

    def _read_back(self, name: str) -> None:
        """Refuses a raster that a full disk has damaged, before the scene counts as finished."""
        target = self.job.output_dir / self.product.name / name
        kept = self.checksums[name]
        require_kept(
            self.folder / name, kept, name=target, threads=self.job.threads, unneeded=self.failed
        )

    def _write_labels(self) -> tuple[np.ndarray | None, dict[str, Any] | None]:
        settings = self.settings
        if settings.ground_truth is None:
            return None, None
        crosswalk = settings.load_crosswalk()
        if not self.job.labels:
            raise LabelError(
                f"no label raster of {settings.ground_truth} overlaps {self.product.name}; "
                "check the tile and the labels' CRS"
            )
        warped = labels.warp_labels(
            self.job.labels,
            crosswalk,
            grid=self.grid,
            unknown=settings.unknown_labels,
        )
        if not warped.labelled_fraction:
            raise LabelError(
                f"{', '.join(warped.sources)} leaves every pixel of {self.product.name} without "
                "class; labels finer than 10 m must cover half of a pixel"
            )
        self._write_raster(prepared.LABELS, warped.codes, nodata=crosswalk.target.nodata)
        with rasterio.open(self.folder / prepared.LABELS, "r+") as dataset:
            dataset.write_colormap(1, crosswalk.target.colormap())
        counts = self._count(warped.codes)
        part = {
            "sources": list(warped.sources),
            "methods": list(warped.methods),
            "source_legend": crosswalk.source,
            "labelled_fraction": warped.labelled_fraction,
            "unknown_source_pixels": {str(k): v for k, v in warped.unknown.items()},
            "class_fractions": {
                str(c.code): float(counts[c.code] / warped.codes.size)
                for c in crosswalk.target.classes
            },
        }
        return warped.codes, part

    def _count(self, codes: np.ndarray) -> np.ndarray:
        """Returns the pixels of each uint8 code, int64 [256]."""
        counts = np.zeros(256, np.int64)
        for strip in self.grid.window.strips(STRIP_ROWS):  # NumPy makes int64 of what it counts.
            counts += np.bincount(codes[strip.slices].ravel(), minlength=256)
        return counts

    def _write_document(
        self, validity: np.ndarray, label_part: dict[str, Any] | None, inputs: dict[str, Any]
    ) -> None:
        product = self.product
        write_json(
            self.folder / prepared.DOCUMENT,
            {
                "schema_version": prepared.SCHEMA_VERSION,
                "product": product.name,
                "source": product.path.name,
                "satellite": product.satellite,
                "baseline": product.baseline_text,
                "sensing_time": product.sensing_time.isoformat(),
                "tile": product.tile,
                "orbit": product.orbit,
                "crs": product.crs.to_string(),
                "bands": {
                    name: {"center_nm": product.center_nm[name], "dn_offset": product.offsets[name]}
                    for name in BAND_NAMES
                },
                "quantification": product.quantification,
                "scale": STORED_SCALE,
                "offset": STORED_OFFSET,
                "nodata": STORED_NODATA,
                "sun_zenith_deg": product.sun_zenith_deg,
                "sun_azimuth_deg": product.sun_azimuth_deg,
                "cloud_cover": self.cloud_cover,
                "bit_fractions": fractions_of_counts(self._count(validity)),
                "legend": self.settings.legend if label_part else None,
                "labels": label_part,
                "checks": [f.to_dict() for f in self.job.findings],
                "settings": self.settings.to_dict(),
                "inputs": inputs,
                "software": software_versions(),
            },
        )
