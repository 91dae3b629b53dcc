"""The checks of many products, side by side, before any of them is prepared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.errors import LandCoverError, ProductError
from landcover_tf.sentinel2 import prepared
from landcover_tf.sentinel2.checks import Finding, check_cloud_mask, check_product
from landcover_tf.sentinel2.cloud_choice import projects_shadows
from landcover_tf.sentinel2.cloud_rasters import parse_values
from landcover_tf.sentinel2.discovery import left_out, open_products, superseded
from landcover_tf.sentinel2.label_checks import check_labels
from landcover_tf.sentinel2.label_rasters import LabelRaster, rasters_of
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.settings import Options, Settings
from landcover_tf.system.executors import executor, run_jobs, usable_cores
from landcover_tf.system.files import read_json


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A product to prepare, with its ground truth."""

    product: SafeProduct
    labels: tuple[LabelRaster, ...]
    """The label rasters to use for it."""

    @property
    def name(self) -> str:
        """Name of the product."""
        return self.product.name


@dataclass(frozen=True, kw_only=True)
class CheckJob:
    """One product to check; travels to a worker process."""

    product: Path
    name: str
    settings: Settings
    labels: tuple[LabelRaster, ...]
    checksums: bool
    threads: int


def check_all(
    source: Path,
    output_dir: Path,
    settings: Settings,
    options: Options,
    rasters: Sequence[LabelRaster],
) -> tuple[list[Candidate], list[Finding]]:
    """Returns the products to prepare and everything the checks found, in the order of products.

    Args:
        source: A product, or a folder of them.
        output_dir: Folder of the prepared scenes.
        settings: How a scene is made.
        options: How the batch runs.
        rasters: The ground truth of all products.

    Raises:
        ProductError: There is no product.
    """
    products, findings = _open_all(source)
    candidates = [Candidate(product=p, labels=_labels_of(p, rasters)) for p in products]
    finished = {
        candidate.name: output_dir / candidate.name / prepared.DOCUMENT
        for candidate in candidates
        if not (options.overwrite or options.check_only)
    }
    finished = {name: path for name, path in finished.items() if path.is_file()}
    jobs = [
        CheckJob(
            product=candidate.product.path,
            name=candidate.name,
            settings=settings,
            labels=candidate.labels,
            checksums=options.checksums,
            threads=max(1, usable_cores() // options.jobs),
        )
        for candidate in candidates
        if candidate.name not in finished
    ]
    found = dict(zip([job.name for job in jobs], _run(jobs, options), strict=True))
    for candidate in candidates:
        if candidate.name in finished:
            # A finished scene keeps what was found before it was made.
            entries = read_json(finished[candidate.name]).get("checks", [])
            kept = [Finding(**entry) for entry in entries]
            findings += [finding for finding in kept if finding not in findings]
        else:
            findings += found[candidate.name]
    return candidates, findings


def check(job: CheckJob) -> list[Finding]:
    """Returns what speaks against one product; the job of a worker process."""
    settings = job.settings
    found: list[Finding] = []
    try:
        product = open_product(job.product)
        found += check_product(
            product,
            checksums=job.checksums,
            needs_cloud_mask=settings.cloud_source == "product",
            needs_sun=projects_shadows(settings),
            threads=job.threads,
        )
        if settings.ground_truth is not None:
            crosswalk = settings.crosswalk
            found += check_labels(product, job.labels, crosswalk, unknown=settings.unknown_labels)
        if settings.cloud_mask is not None:
            values = parse_values(settings.cloud_mask_values)
            found += check_cloud_mask(settings.cloud_mask, product, values)
    except LandCoverError as error:  # One product's trouble is not that of the others.
        found.append(Finding(product=job.name, check="check", severity="fatal", message=str(error)))
    return found


def _open_all(source: Path) -> tuple[list[SafeProduct], list[Finding]]:
    """Returns the products without those that a newer baseline replaces, and what was found."""
    products, unopened = open_products(source)
    findings = [
        Finding(product=u.path.name, check="open", severity=u.severity, message=str(u.error))
        for u in unopened
    ]
    if not products and not any(f.severity == "fatal" for f in findings):
        locked = "".join(f"; {f.message}" for f in findings if f.severity == "warning")
        raise ProductError(
            f"{source} holds no Sentinel-2 product, only "
            f"{'folders that may not be read' if locked else 'other .zip files'}{locked}"
        )
    replaced = superseded(products)
    for product in products:
        newer = replaced.get(str(product.path))
        if newer is not None:
            findings.append(
                Finding(
                    product=product.name,
                    check="duplicate",
                    severity="note",
                    message=left_out(product, newer),
                )
            )
    return [p for p in products if str(p.path) not in replaced], findings


def _labels_of(product: SafeProduct, rasters: Sequence[LabelRaster]) -> tuple[LabelRaster, ...]:
    return tuple(rasters_of(rasters, product.name, product.grids[10]))


def _run(jobs: Sequence[CheckJob], options: Options) -> list[list[Finding]]:
    if not jobs:
        return []
    with executor(min(options.jobs, len(jobs)), options.scheduler) as pool:
        return run_jobs(pool, check, jobs, label="checking", unit="product")
