"""Many products: checked together, then prepared one by one or side by side."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from landcover_tf.configs.settings_changes import changes
from landcover_tf.errors import LandCoverError, LegendError, OutputError, ProductError
from landcover_tf.legend import DEFAULT_LEGEND
from landcover_tf.rasters.raster_legends import source_legends
from landcover_tf.sentinel2 import prepared, scene_inputs
from landcover_tf.sentinel2.batch_checks import Candidate, check_all
from landcover_tf.sentinel2.checks import Finding
from landcover_tf.sentinel2.cloud_rasters import parse_values
from landcover_tf.sentinel2.clouds import load_s2cloudless
from landcover_tf.sentinel2.label_rasters import LabelRaster, find_label_rasters
from landcover_tf.sentinel2.preparation import prepare_product, scene_bytes
from landcover_tf.sentinel2.settings import Job, Options, Settings
from landcover_tf.system.executors import executor, finished, places, result_of, usable_cores
from landcover_tf.system.files import read_json, remove_leftovers, require_space, write_json

REPORT = "checks.json"
_NEARLY_EMPTY_FRACTION = 0.95
"""Share of pixels without data from which a scene is doubtful."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What became of many products."""

    scenes: tuple[Path, ...]
    """Folders of the scenes, made now or finished before; none where products were only checked."""
    findings: tuple[Finding, ...]

    @property
    def unfit(self) -> bool:
        """Whether any product has no scene because of a problem."""
        return any(finding.severity == "fatal" for finding in self.findings)


def run(
    source: Path,
    output_dir: Path,
    settings: Settings,
    options: Options,
    *,
    begin: Callable[[], None] = lambda: None,
) -> Batch:
    """Prepares every product at `source` and returns what became of them.

    Args:
        source: A product, or a folder of them.
        output_dir: Folder of the prepared scenes.
        settings: How a scene is made.
        options: How the batch runs.
        begin: Called once it is known that products are to be prepared and nothing refuses them.

    Raises:
        LandCoverError: A setting is wrong, or products have fatal problems and `keep_going` is
            off; nothing is prepared then.
    """
    rasters = [] if settings.ground_truth is None else find_label_rasters(settings.ground_truth)
    settings = replace(settings, source_legend=_source_legend(rasters, settings))
    merged = settings.load_crosswalk().merged
    parse_values(settings.cloud_mask_values)
    if settings.cloud_source == "s2cloudless":
        load_s2cloudless()
    candidates, findings = check_all(source, output_dir, settings, options, rasters)
    unfit = {f.product for f in findings if f.severity == "fatal"}
    good = [c for c in candidates if c.name not in unfit]
    _report(output_dir, findings, [c.name for c in good])
    for finding in findings:
        if finding.severity != "fatal":
            print(f"{finding.severity}: {finding.product}: {finding.message}", file=sys.stderr)
    if unfit:
        if not options.keep_going:
            raise ProductError(_summary(findings, output_dir))
        print(f"error: {_summary(findings, output_dir)}", file=sys.stderr)
    if merged and settings.ground_truth:
        print(f"note: {merged}")
    if not options.check_only:
        jobs = _jobs(good, findings, output_dir, settings, options)
        if good:
            begin()
        found = _prepare_all(jobs, options)
        findings += found
        if found:
            _report(output_dir, findings, [c.name for c in good])
        if any(f.severity == "fatal" for f in found):
            print(f"error: {_summary(found, output_dir)}", file=sys.stderr)
    elif not unfit:
        print(f"{len(good)} product(s) are fit; {output_dir / REPORT} has the details")
    failed = {f.product for f in findings if f.severity == "fatal"}
    scenes = [] if options.check_only else [c.name for c in good if c.name not in failed]
    return Batch(scenes=tuple(output_dir / name for name in scenes), findings=tuple(findings))


def _source_legend(rasters: Sequence[LabelRaster], settings: Settings) -> str:
    """Returns the legend of the label rasters: the setting's, or else what they name."""
    tags = {raster.path: raster.legend for raster in rasters}
    found = source_legends(tags, settings.legend, DEFAULT_LEGEND, given=settings.source_legend)
    several = {str(legend): path for path, legend in found.items()}
    if len(several) > 1:
        listed = ", ".join(f"{path} of {name}" for name, path in sorted(several.items()))
        raise LegendError(
            f"{settings.ground_truth} holds labels of several legends, {listed}; name that of all "
            "with --source-legend, or prepare with one after the other"
        )
    return next(iter(several), settings.source_legend or DEFAULT_LEGEND)


def _jobs(
    candidates: Sequence[Candidate],
    findings: Sequence[Finding],
    output_dir: Path,
    settings: Settings,
    options: Options,
) -> dict[str, Job]:
    """Returns the jobs of the products whose scenes are not finished, by the product's name."""
    jobs = {}
    for candidate in candidates:
        folder = output_dir / candidate.name
        remove_leftovers(folder)
        if _is_finished(folder, candidate, settings, overwrite=options.overwrite):
            print(f"{candidate.name}: finished before, skipped")
            continue
        jobs[candidate.name] = Job(
            product=candidate.product.path,
            output_dir=output_dir,
            settings=settings,
            labels=candidate.labels,
            findings=tuple(f for f in findings if f.product == candidate.name),
            overwrite=options.overwrite,
            threads=max(1, usable_cores() // options.jobs),
            needed_bytes=scene_bytes(candidate.product),
        )
    return jobs


def _prepare_all(named: Mapping[str, Job], options: Options) -> list[Finding]:
    """Returns what came up while preparing; with `keep_going` off the first failure is raised.

    Args:
        named: The jobs by the product's name.
        options: How to go about it.

    Raises:
        OutputError: The disk has not the room for the scenes that are made side by side.
    """
    found = []
    names, jobs = list(named), list(named.values())
    with executor(min(options.jobs, max(len(jobs), 1)), options.scheduler) as pool:
        _require_space(jobs, places(pool), options.scheduler)
        with finished(pool, prepare_product, jobs) as done:
            for index, future in done:
                try:
                    scene = result_of(future)
                    found += _report_scene(scene)
                except LandCoverError as error:
                    if not options.keep_going:
                        raise
                    found.append(
                        Finding(
                            product=names[index],
                            check="prepare",
                            severity="fatal",
                            message=str(error),
                        )
                    )
    return found


def _require_space(jobs: Sequence[Job], side_by_side: int, scheduler: str | None) -> None:
    """Refuses more scenes at a time than the disk has room for; each asks for itself only."""
    largest = sorted((job.needed_bytes for job in jobs), reverse=True)[:side_by_side]
    if len(largest) > 1:
        fewer = "--jobs" if scheduler is None else "Dask workers"
        what = f"preparing {len(largest)} scenes side by side, which fewer {fewer} lower,"
        require_space(jobs[0].output_dir, sum(largest), what)


def _report_scene(scene: Path) -> list[Finding]:
    """Prints what shares of a scene lack data or are cloudy; returns what speaks against it."""
    document = read_json(scene / prepared.DOCUMENT)
    empty, used = document["bit_fractions"]["nodata"], document["settings"]["cloud_source"]
    covers = [
        f"{source} {'unknown' if share is None else f'{share:.1%}'}"
        + (" (used)" if source == used else "")
        for source, share in document["cloud_cover"].items()
    ]
    none_used = "; none used" if used == "none" else ""
    print(f"wrote {scene}\n  no data: {empty:.1%}")
    print(f"  cloud cover of the pixels with data: {', '.join(covers)}{none_used}")
    if empty <= _NEARLY_EMPTY_FRACTION:
        return []
    message = f"{empty:.1%} of the pixels have no data; another date may cover more of the tile"
    print(f"warning: {scene.name}: {message}", file=sys.stderr)
    return [Finding(product=scene.name, check="no-data", severity="warning", message=message)]


def _is_finished(
    folder: Path, candidate: Candidate, settings: Settings, *, overwrite: bool
) -> bool:
    """Returns whether the scene of a product is done and is not to be made again.

    Raises:
        OutputError: It was made with other settings or other files, or the folder is no scene.
    """
    if not folder.exists():
        return False
    document = folder / prepared.DOCUMENT
    if not document.is_file():
        raise OutputError(
            f"{folder} exists and is not a prepared scene; choose another --output-dir"
        )
    if overwrite:
        return False
    scene = read_json(document)
    inputs = scene.get("inputs")
    # What a path or a legend's name stands for is compared by content where the scene tells it.
    by_content = () if inputs is None else (*scene_inputs.FILES, "source_legend")
    changed = changes(scene.get("settings", {}), settings.to_dict(), free=by_content)
    if inputs is not None:
        files = scene_inputs.files_of(candidate.product, settings, candidate.labels)
        changed += scene_inputs.changes(inputs, files, settings)
    if changed:
        raise OutputError(
            f"{folder} was prepared with other settings ({', '.join(changed)}); choose another "
            "--output-dir or pass --overwrite"
        )
    return True


def _report(output_dir: Path, findings: Sequence[Finding], good: Sequence[str]) -> None:
    write_json(
        output_dir / REPORT,
        {"fit_products": list(good), "findings": [f.to_dict() for f in findings]},
    )


def _summary(findings: Sequence[Finding], output_dir: Path) -> str:
    """Returns the fatal findings by product, those about many of its files in one line."""
    fatal = [f for f in findings if f.severity == "fatal"]
    if len(fatal) == 1:
        return fatal[0].message
    products: dict[str, list[Finding]] = {}
    for finding in fatal:
        products.setdefault(finding.product, []).append(finding)
    lines = "".join(
        f"\n{product}:" + "".join(f"\n  - {line}" for line in _lines(found))
        for product, found in products.items()
    )
    head = f"{len(fatal)} problems in {len(products)} product(s), all in {output_dir / REPORT}"
    return f"{head}:{lines}"


def _lines(findings: Sequence[Finding]) -> list[str]:
    """Returns a line for each finding of a product, and one for all files with the same trouble."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        # Byte counts and checksums differ from file to file, what kind of trouble it is does not.
        what = finding.problem.partition(":")[0] if finding.check == "broken-file" else ""
        alike = (finding.check, what) if finding.file else (finding.check, finding.message)
        groups.setdefault(alike, []).append(finding)
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[Finding]) -> str:
    if not group[0].file:
        return group[0].message
    first, last = (PurePosixPath(f.file).name for f in (group[0], group[-1]))
    if len(group) == 1:
        return f"{first} {group[0].problem}; download it again"
    which = "each" if len({f.problem for f in group}) == 1 else "the first"
    return f"{len(group)} files, {first} to {last}: {which} {group[0].problem}; download them again"
