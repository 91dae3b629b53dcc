"""The checks of many products, side by side, before any of them is prepared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from landcover_tf.errors import LandCoverError, ProductError
from landcover_tf.sentinel2 import prepared
from landcover_tf.sentinel2.checks import Finding, Severity, check_cloud_mask, check_product
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

    Of each sight that is the highest baseline, or where it is unfit, the next one that is there.

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
    found: dict[Path, list[Finding]] = {}
    spares: dict[Path, set[str]] = {}
    while True:
        held = [product for product in products if product.path not in spares]
        replaced = superseded(held)
        candidates = [
            Candidate(product=product, labels=_labels_of(product, rasters))
            for product in held
            if str(product.path) not in replaced
        ]
        new = [c for c in candidates if c.product.path not in found]
        found |= _check(new, output_dir, settings, options)
        unfit = {p.path for p in replaced.values() if _is_unfit(found[p.path])}
        if not unfit:
            break
        for path in unfit:
            spares[path] = {older for older, newer in replaced.items() if newer.path == path}
    substitutes = {
        path: c.product
        for path, others in spares.items()
        for c in candidates
        if str(c.product.path) in others and not _is_unfit(found[c.product.path])
    }
    for path in substitutes:
        # They refuse nothing: another copy takes the product's place.
        found[path] = [replace(f, severity="warning") if _is_unfit([f]) else f for f in found[path]]
    findings += _of_copies(products, substitutes, replaced)
    for product in products:
        findings += [f for f in found.get(product.path, ()) if f not in findings]
    return candidates, findings


def _is_unfit(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "fatal" for finding in findings)


def _of_copies(
    products: Sequence[SafeProduct],
    substitutes: Mapping[Path, SafeProduct],
    replaced: Mapping[str, SafeProduct],
) -> Iterator[Finding]:
    """Yields which products are left out for others of the same sight.

    Args:
        products: All of them.
        substitutes: By the paths of unfit products, what is used in their place.
        replaced: By the paths of others, the newer ones that are used.
    """
    for product in products:
        if (newer := replaced.get(str(product.path))) is not None:
            yield _duplicate(product, "note", left_out(product, newer))
        elif (other := substitutes.get(product.path)) is not None:
            message = f"{product.path} is unfit, so {other.path} is used in its place"
            yield _duplicate(product, "warning", message)


def _duplicate(product: SafeProduct, severity: Severity, message: str) -> Finding:
    return Finding(product=product.name, check="duplicate", severity=severity, message=message)


def _check(
    candidates: Sequence[Candidate], output_dir: Path, settings: Settings, options: Options
) -> dict[Path, list[Finding]]:
    """Returns what speaks against products, by their paths."""
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
    found = dict(zip([job.product for job in jobs], _run(jobs, options), strict=True))
    for candidate in candidates:
        if candidate.name in finished:
            # A finished scene keeps what was found before it was made.
            entries = read_json(finished[candidate.name]).get("checks", [])
            found[candidate.product.path] = [Finding(**entry) for entry in entries]
    return found


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
    """Returns the products, and what was found of what else looked like one."""
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
    return products, findings


def _labels_of(product: SafeProduct, rasters: Sequence[LabelRaster]) -> tuple[LabelRaster, ...]:
    return tuple(rasters_of(rasters, product.name, product.grids[10]))


def _run(jobs: Sequence[CheckJob], options: Options) -> list[list[Finding]]:
    if not jobs:
        return []
    with executor(min(options.jobs, len(jobs)), options.scheduler) as pool:
        return run_jobs(pool, check, jobs, label="checking", unit="product")
