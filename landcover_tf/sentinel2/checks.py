"""Problems of products, all of them at once, before anything is written."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import rasterio
from rasterio.errors import RasterioError

from landcover_tf.bands import BAND_NAMES, band
from landcover_tf.errors import LandCoverError, ProductError, RasterError
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.sentinel2.cloud_rasters import mask_of, read_cloud_mask
from landcover_tf.sentinel2.clouds import NO_SUN
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.product import MaskFile, SafeProduct
from landcover_tf.sentinel2.quality import polygons
from landcover_tf.system.executors import usable_cores

Severity = Literal["fatal", "warning", "note"]

OTHER_CLOUDS = "prepare it with --cloud-source s2cloudless or none, or with --cloud-mask"
"""What to do about a product that has no cloud mask, where its scene is to be prepared."""
_RASTER_KINDS = ("QUALIT", "DETFOO")
_GML_KINDS = ("NODATA", "DEFECT", "SATURA", "TECQUA", "DETFOO")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found."""

    product: str
    """Name of the product, or of the file that should have been one."""
    check: str
    """Short name of the check, for scripts."""
    severity: Severity
    message: str
    file: str = ""
    """What it is about inside the product, if it is about one file."""
    problem: str = ""
    """What is wrong with that file, without its name."""

    @property
    def is_damage(self) -> bool:
        """Whether a file of the product is broken or not there, which no setting can mend."""
        return self.severity == "fatal" and (bool(self.file) or self.check == "missing-band")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, without those that are empty."""
        return {name: value for name, value in asdict(self).items() if value}


def check_product(
    product: SafeProduct,
    *,
    checksums: bool = True,
    needs_cloud_mask: bool = True,
    other_clouds: str = OTHER_CLOUDS,
    needs_sun: bool = True,
    threads: int | None = None,
) -> list[Finding]:
    """Returns everything that speaks against a product; no band is decoded.

    Args:
        product: Its metadata has been read.
        checksums: Whether to compare files with the manifest.
        needs_cloud_mask: Whether clouds are to come from the product's own mask.
        other_clouds: What to do where it has none.
        needs_sun: Whether shadows are to be projected.
        threads: Files hashed at the same time; None is one per usable core.
    """
    found = [
        *_band_findings(product),
        *_cloud_mask_findings(product, advice=other_clouds if needs_cloud_mask else ""),
        *_mask_findings(product),
        *_quality_findings(product),
        *_metadata_findings(product, needs_sun=needs_sun),
    ]
    return found + checksum_findings(product, threads) if checksums else found


def checksum_findings(product: SafeProduct, threads: int | None = None) -> list[Finding]:
    """Returns the bands and masks whose bytes are not those that manifest.safe lists.

    Args:
        product: Its metadata has been read.
        threads: Files hashed at the same time; None is one per usable core.

    Returns:
        A fatal finding for each such file; a warning if there is no readable manifest.
    """
    if "manifest.safe" not in product.container.sizes:
        message = f"{product.path} has no manifest.safe to compare with"
        return [_finding(product, "checksum", "warning", message)]
    try:
        root = product.container.xml("manifest.safe")
    except LandCoverError as error:
        return [_finding(product, "checksum", "warning", str(error))]
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
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        problems = list(pool.map(lambda entry: _checksum_problem(product, *entry), listed))
    return [
        _file_finding(product, "checksum", name, problem)
        for (name, _, _), problem in zip(listed, problems, strict=True)
        if problem
    ]


def check_cloud_mask(path: Path, product: SafeProduct, values: Mapping[int, str]) -> list[Finding]:
    """Returns what speaks against a cloud mask of the user's.

    Args:
        path: The raster, or a folder of them.
        product: The product it belongs to.
        values: Class name of each value.
    """
    try:
        mask = read_cloud_mask(mask_of(path, product), product, values)
    except RasterError as error:
        return [_finding(product, "cloud-mask", "fatal", str(error))]
    if mask.covered_fraction == 1:
        return []
    message = (
        f"{path} covers {mask.covered_fraction:.1%} of {product.name}; where the image has "
        "data, the rest counts as clear"
    )
    return [_finding(product, "cloud-mask", "warning", message)]


def _finding(product: SafeProduct, check: str, severity: Severity, message: str) -> Finding:
    return Finding(product=product.name, check=check, severity=severity, message=message)


def _file_finding(product: SafeProduct, check: str, file: str, problem: str) -> Finding:
    message = f"{file} in {product.path} {problem}; download it again"
    return replace(_finding(product, check, "fatal", message), file=file, problem=problem)


def _band_findings(product: SafeProduct) -> Iterator[Finding]:
    missing = [name for name in BAND_NAMES if name not in product.band_files]
    if missing:
        yield _finding(
            product,
            "missing-band",
            "fatal",
            f"{product.path} has no file of band {', '.join(missing)}; download the product again",
        )
    for name in product.band_files:
        file = product.band_files[name]
        problem = _raster_problem(product, file, product.grids[band(name).resolution_m])
        if problem:
            check, message = problem
            yield _file_finding(product, check, file, message)


def _cloud_mask_findings(product: SafeProduct, *, advice: str) -> Iterator[Finding]:
    """Yields that there is no cloud mask, which is fatal where `advice` says what to do."""
    if product.mask_files("CLASSI") or product.mask_files("CLOUDS"):
        return
    yield _finding(
        product,
        "missing-mask",
        "fatal" if advice else "warning",
        f"{product.path} has no cloud mask of its own" + (f"; {advice}" if advice else ""),
    )


def _mask_findings(product: SafeProduct) -> Iterator[Finding]:
    lacking = []
    for kind in _RASTER_KINDS if product.baseline >= (4, 0) else _GML_KINDS:
        there = {mask.band for mask in product.mask_files(kind)}
        missing = [name for name in BAND_NAMES if name not in there]
        if missing:
            lacking.append(f"MSK_{kind} of {', '.join(missing) if there else 'any band'}")
    if lacking:
        yield _finding(
            product,
            "missing-mask",
            "warning",
            f"{product.path} has no {', no '.join(lacking)}; what they would tell is taken for "
            "good",
        )
    for mask in product.masks:
        problem = _mask_problem(product, mask)
        if problem:
            check, message = problem
            yield _file_finding(product, check, mask.name, message)


def _mask_problem(product: SafeProduct, mask: MaskFile) -> tuple[str, str] | None:
    if mask.suffix == ".jp2":
        resolution = 60 if mask.band is None else band(mask.band).resolution_m
        return _raster_problem(product, mask.name, product.grids[resolution])
    try:
        for _ in polygons(product, mask):
            pass
    except ProductError as error:
        return "broken-file", f"cannot be read ({error})"
    return None


def _raster_problem(product: SafeProduct, name: str, grid: RasterGrid) -> tuple[str, str] | None:
    """Returns (check, message) of what is wrong with a JP2's bytes, size, CRS or position."""
    damage = describe_damage(product.container, name)
    if damage:
        return "broken-file", damage
    try:
        with rasterio.open(product.container.gdal_path(name)) as dataset:
            found = RasterGrid.of(dataset)
    except RasterioError as error:
        return "broken-file", f"cannot be opened ({error})"
    if found.shape != grid.shape:
        return (
            "size",
            f"has {found.width} x {found.height} px; MTD_TL.xml says {grid.width} x {grid.height}",
        )
    if found.crs is None:
        return None
    if found.crs != grid.crs:
        return "crs", f"is in {found.crs.to_string()}; MTD_TL.xml says {product.crs.to_string()}"
    if not found.same_pixels(grid):
        return (
            "position",
            f"starts at ({found.transform.c}, {found.transform.f}); MTD_TL.xml says "
            f"({grid.transform.c}, {grid.transform.f})",
        )
    return None


def _quality_findings(product: SafeProduct) -> Iterator[Finding]:
    for name in product.failed_quality_checks:
        yield _finding(
            product, "quality", "warning", f"ESA's quality inspection {name} did not pass"
        )


def _metadata_findings(product: SafeProduct, *, needs_sun: bool) -> Iterator[Finding]:
    if product.lacking:
        lacking = "; ".join(product.lacking)
        yield _finding(
            product, "metadata", "warning", f"the metadata of {product.path} lacks {lacking}"
        )
    if needs_sun and product.sun_zenith_deg is None:
        yield _finding(product, "sun", "fatal", f"{product.path} {NO_SUN}")


def _checksum_problem(product: SafeProduct, name: str, kind: str, wanted: str) -> str | None:
    """Returns what is wrong with a file's checksum; unknown kinds pass."""
    algorithms = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA-256": "sha256"}
    if kind not in algorithms:
        return None
    try:
        with product.container.open(name) as file:
            hashed = hashlib.file_digest(file, algorithms[kind])  # type: ignore[arg-type]
    except ProductError as error:
        return f"cannot be read ({error.__cause__})"
    digest = hashed.hexdigest()
    if digest.lower() == wanted.lower():
        return None
    return f"has {kind} {digest}; manifest.safe says {wanted}"
