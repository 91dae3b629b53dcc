"""Problems of products, all of them at once, before anything is written."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from scipy import ndimage

from landcover_tf.bands import BAND_NAMES, band
from landcover_tf.errors import LandCoverError
from landcover_tf.executors import usable_cores
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.labels import LabelRaster, rasters_of
from landcover_tf.sentinel2.safe import Grid, SafeProduct

Severity = Literal["fatal", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found."""

    product: str
    """Name of the product, or of the file that should have been one."""
    check: str
    """Short name of the check, for scripts."""
    severity: Severity
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def check_product(
    product: SafeProduct, label_rasters: Sequence[LabelRaster], *, checksums: bool = True
) -> list[Finding]:
    """Returns everything that speaks against a product; nothing of it is decoded.

    Args:
        product: Its metadata has been read.
        label_rasters: Ground truth; empty if none was given.
        checksums: Whether to compare files with the manifest.
    """
    found = [*_band_findings(product), *_mask_findings(product), *_quality_findings(product)]
    if checksums:
        found += _checksum_findings(product)
    if label_rasters:
        grid = product.grids[10]
        meeting = rasters_of(
            label_rasters, product.name, product.crs, grid.transform, grid.height, grid.width
        )
        if not meeting:
            found.append(
                _finding(
                    product,
                    "label-overlap",
                    "fatal",
                    f"no label raster overlaps {product.name}; check the tile and the CRS of the "
                    "labels",
                )
            )
    return found


def _finding(product: SafeProduct, check: str, severity: Severity, message: str) -> Finding:
    return Finding(product=product.name, check=check, severity=severity, message=message)


def _band_findings(product: SafeProduct) -> Iterator[Finding]:
    for name in BAND_NAMES:
        if name not in product.band_files:
            yield _finding(
                product,
                "missing-band",
                "fatal",
                f"{product.path} has no file of band {name}; download the product again",
            )
            continue
        file = product.band_files[name]
        problem = _raster_problem(product, file, product.grids[band(name).resolution_m])
        if problem:
            check, message = problem
            yield _finding(
                product, check, "fatal", f"{file} in {product.path} {message}; download it again"
            )


def _mask_findings(product: SafeProduct) -> Iterator[Finding]:
    if not product.mask_files("CLASSI") and not product.mask_files("CLOUDS"):
        yield _finding(
            product, "missing-mask", "warning", f"{product.path} has no cloud mask of its own"
        )
    for mask in product.masks:
        if not mask.name.endswith(".jp2"):
            continue
        resolution = 60 if mask.band is None else band(mask.band).resolution_m
        problem = _raster_problem(product, mask.name, product.grids[resolution])
        if problem:
            check, message = problem
            yield _finding(
                product,
                check,
                "fatal",
                f"{mask.name} in {product.path} {message}; download it again",
            )


def _raster_problem(product: SafeProduct, name: str, grid: Grid) -> tuple[str, str] | None:
    """Returns (check, message) of what is wrong with a JP2's bytes, size, CRS or position."""
    damage = describe_damage(product.container, name)
    if damage:
        return "broken-file", damage
    try:
        with rasterio.open(product.container.gdal_path(name)) as dataset:
            size, crs, transform = (dataset.width, dataset.height), dataset.crs, dataset.transform
    except RasterioError as error:
        return "broken-file", f"cannot be opened ({error})"
    if size != (grid.width, grid.height):
        return (
            "size",
            f"has {size[0]} x {size[1]} px; MTD_TL.xml says {grid.width} x {grid.height}",
        )
    if crs is not None and crs != product.crs:
        return "crs", f"is in {crs.to_string()}; MTD_TL.xml says {product.crs.to_string()}"
    if crs is not None and not transform.almost_equals(grid.transform, 1e-3):
        return (
            "position",
            f"starts at ({transform.c}, {transform.f}); MTD_TL.xml says "
            f"({grid.transform.c}, {grid.transform.f})",
        )
    return None


def _quality_findings(product: SafeProduct) -> Iterator[Finding]:
    for name in product.failed_quality_checks:
        yield _finding(
            product, "quality", "warning", f"ESA's quality inspection {name} did not pass"
        )


def _checksum_findings(product: SafeProduct) -> Iterator[Finding]:
    """Yields the used files whose bytes are not those that manifest.safe lists."""
    if "manifest.safe" not in product.container.sizes:
        yield _finding(
            product, "checksum", "warning", f"{product.path} has no manifest.safe to compare with"
        )
        return
    try:
        root = product.container.xml("manifest.safe")
    except LandCoverError as error:
        yield _finding(product, "checksum", "warning", str(error))
        return
    used = {*product.band_files.values(), *(mask.name for mask in product.masks)}
    listed = []
    for entry in root.iter("byteStream"):
        location, checksum = entry.find("fileLocation"), entry.find("checksum")
        if location is None or checksum is None:
            continue
        name = str(location.get("href", "")).removeprefix("./")
        # Empty files have a finding of their own.
        if name not in used or not product.container.sizes.get(name):
            continue
        listed.append((name, str(checksum.get("checksumName")), (checksum.text or "").strip()))
    # Hashing does not hold the interpreter's lock: two files take as long as one.
    with ThreadPoolExecutor(usable_cores()) as pool:
        problems = list(pool.map(lambda entry: _checksum_problem(product, *entry), listed))
    for (name, _, _), problem in zip(listed, problems, strict=True):
        if problem:
            yield _finding(
                product,
                "checksum",
                "fatal",
                f"{name} in {product.path} {problem}; download it again",
            )


def _checksum_problem(product: SafeProduct, name: str, kind: str, wanted: str) -> str | None:
    """Returns what is wrong with a file's checksum; unknown kinds pass."""
    algorithms = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA-256": "sha256"}
    if kind not in algorithms:
        return None
    with product.container.open(name) as file:
        digest = hashlib.file_digest(file, algorithms[kind]).hexdigest()  # type: ignore[arg-type]
    if digest.lower() == wanted.lower():
        return None
    return f"has {kind} {digest}; manifest.safe says {wanted}"


def label_shift_hint(product: str, nir: np.ndarray, codes: np.ndarray) -> Finding | None:
    """Returns a warning if the labels' edges fit the image better after a shift.

    Edges of near infrared and edges of labels are correlated at 60 m for shifts of up to three
    pixels; a better fit elsewhere than in place hints at a wrong CRS or transform of the labels.

    Args:
        product: Name for the message.
        nir: B08 reflectance at 60 m, float32 [height, width].
        codes: Legend codes at 10 m, uint8 [height * 6, width * 6].
    """
    sampled = codes[3::6, 3::6][: nir.shape[0], : nir.shape[1]].astype(np.float32)
    edges = np.hypot(ndimage.sobel(nir, 0), ndimage.sobel(nir, 1))
    # Cloud edges and other extremes would outweigh the fields.
    edges = np.minimum(edges, np.percentile(edges, 95))
    borders = (ndimage.maximum_filter(sampled, 3) != ndimage.minimum_filter(sampled, 3)) * 1.0
    reach = 3
    if min(edges.shape) <= 8 * reach or not borders.any() or not edges.any():
        return None
    core = edges[reach:-reach, reach:-reach]
    scores = {}
    for rows in range(-reach, reach + 1):
        for cols in range(-reach, reach + 1):
            moved = np.roll(borders, (rows, cols), (0, 1))[reach:-reach, reach:-reach]
            if moved.std() > 0:
                scores[rows, cols] = float(np.corrcoef(core.ravel(), moved.ravel())[0, 1])
    if (0, 0) not in scores:
        return None  # Labels without borders inside fit everywhere alike.
    best = max(scores, key=scores.__getitem__)
    if best == (0, 0) or scores[best] < 0.1 or scores[best] < 1.3 * scores[0, 0]:
        return None
    return Finding(
        product=product,
        check="label-shift",
        severity="warning",
        message=(
            f"the labels' edges fit the image better when moved {best[1] * 60} m east and "
            f"{-best[0] * 60} m north (correlation {scores[best]:.2f} against "
            f"{scores[0, 0]:.2f}); check the CRS and transform of the label raster"
        ),
    )
