"""The checks of many products, side by side, before any of them is prepared."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landcover_tf.errors import LandCoverError, ProductError
from landcover_tf.sentinel2 import prepared
from landcover_tf.sentinel2.checks import Finding, Severity, check_cloud_mask, check_product
from landcover_tf.sentinel2.cloud_choice import projects_shadows
from landcover_tf.sentinel2.cloud_rasters import parse_values
from landcover_tf.sentinel2.discovery import Unopened, left_out, open_products, taken_instead
from landcover_tf.sentinel2.label_checks import check_labels
from landcover_tf.sentinel2.label_rasters import LabelRaster, rasters_of
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.sentinel2.product_choice import Choice, choose
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

    Of each sight that is the highest baseline, or where it is damaged, the next one that is there;
    where a scene is finished, the copy that it was made of.

    Args:
        source: A product, or a folder of them.
        output_dir: Folder of the prepared scenes.
        settings: How a scene is made.
        options: How the batch runs.
        rasters: The ground truth of all products.

    Raises:
        ProductError: There is no product.
    """
    products, unopened = _open_all(source)
    finished = _finished(products, output_dir, options)
    candidates: dict[Path, Candidate] = {}
    found: dict[Path, list[Finding]] = {}

    def damaged(used: Sequence[SafeProduct], doubtful: Collection[Path]) -> list[Path]:
        new = [p for p in used if p.path not in candidates]
        candidates.update(
            {p.path: Candidate(product=p, labels=_labels_of(p, rasters)) for p in new}
        )
        found.update(_check([candidates[p.path] for p in new], finished, settings, options))
        return [path for path in doubtful if any(f.is_damage for f in found[path])]

    choice = choose(products, unopened, damaged, copies=_other_copies(products, finished))
    for path in choice.substitutes.keys() & found.keys():
        # They refuse nothing: another copy takes the product's place.
        found[path] = [_lowered(finding) for finding in found[path]]
    findings = [*_of_unopened(unopened, choice), *_of_copies(products, found, choice)]
    for product in products:
        findings += [f for f in found.get(product.path, ()) if f not in findings]
    return [candidates[product.path] for product in choice.used], findings


def _lowered(finding: Finding) -> Finding:
    return replace(finding, severity="warning") if finding.severity == "fatal" else finding


def _of_unopened(unopened: Sequence[Unopened], choice: Choice) -> Iterator[Finding]:
    """Yields why what looked like a product is none."""
    for one in unopened:
        other = choice.substitutes.get(one.path)
        if other is None:
            finding = Finding(
                product=one.path.name, check="open", severity=one.severity, message=str(one.error)
            )
            yield finding
            continue
        # Under the name of the product that is used, whose scene keeps them.
        message = str(one.error)
        yield Finding(product=other.name, check="open", severity="warning", message=message)
        yield _duplicate(other, "warning", taken_instead(one.path, other))


def _of_copies(
    products: Sequence[SafeProduct], found: Mapping[Path, Sequence[Finding]], choice: Choice
) -> Iterator[Finding]:
    """Yields which products are left out for others of the same sight."""
    for product in products:
        if (newer := choice.replaced.get(str(product.path))) is not None:
            # A finished scene that was made in place of this product says so itself.
            told = taken_instead(product.path, newer)
            if all(finding.message != told for finding in found[newer.path]):
                yield _duplicate(product, "note", left_out(product, newer))
        elif (other := choice.substitutes.get(product.path)) is not None:
            yield _duplicate(product, "warning", taken_instead(product.path, other))


def _duplicate(product: SafeProduct, severity: Severity, message: str) -> Finding:
    return Finding(product=product.name, check="duplicate", severity=severity, message=message)


def _finished(
    products: Sequence[SafeProduct], output_dir: Path, options: Options
) -> dict[str, dict[str, Any]]:
    """Returns what finished scenes that are to be kept say of themselves, by the product's name."""
    if options.overwrite or options.check_only:
        return {}
    paths = {product.name: output_dir / product.name / prepared.DOCUMENT for product in products}
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def _other_copies(
    products: Sequence[SafeProduct], finished: Mapping[str, Mapping[str, Any]]
) -> dict[Path, SafeProduct]:
    """Returns the copies that finished scenes were not made of, with the one that each was."""
    sources = {
        product.name: product
        for product in products
        if product.path.name == finished.get(product.name, {}).get("source")
    }
    return {
        product.path: sources[product.name]
        for product in products
        if product.name in sources and product is not sources[product.name]
    }


def _check(
    candidates: Sequence[Candidate],
    finished: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    options: Options,
) -> dict[Path, list[Finding]]:
    """Returns what speaks against products, by their paths."""
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
            entries = finished[candidate.name].get("checks", [])
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
            crosswalk = settings.load_crosswalk()
            found += check_labels(product, job.labels, crosswalk, unknown=settings.unknown_labels)
        if settings.cloud_mask is not None:
            values = parse_values(settings.cloud_mask_values)
            found += check_cloud_mask(settings.cloud_mask, product, values)
    except LandCoverError as error:  # One product's trouble is not that of the others.
        found.append(Finding(product=job.name, check="check", severity="fatal", message=str(error)))
    return found


def _open_all(source: Path) -> tuple[list[SafeProduct], list[Unopened]]:
    """Returns the products, and what else looked like one."""
    products, unopened = open_products(source)
    if not products and all(one.severity != "fatal" for one in unopened):
        foreign = "other .zip files or SAFE folders"
        locked = "".join(f"; {one.error}" for one in unopened if one.severity == "warning")
        raise ProductError(
            f"{source} holds no Sentinel-2 product, only "
            f"{'folders that may not be read' if locked else foreign}{locked}"
        )
    return products, unopened


def _labels_of(product: SafeProduct, rasters: Sequence[LabelRaster]) -> tuple[LabelRaster, ...]:
    return tuple(rasters_of(rasters, product.name, product.grids[10]))


def _run(jobs: Sequence[CheckJob], options: Options) -> list[list[Finding]]:
    if not jobs:
        return []
    with executor(min(options.jobs, len(jobs)), options.scheduler) as pool:
        return run_jobs(pool, check, jobs, label="checking", unit="product")
