"""From the input to a plan: what every possible patch holds and what becomes of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError, LandCoverError
from landcover_tf.legend import Legend, some_codes
from landcover_tf.system.progress import progress
from tfrecords_builder import label_legends
from tfrecords_builder.checks import dataset_nodata, raise_problems, require_uniform
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.cutting import ChosenPatch, CutJob, cut_jobs
from tfrecords_builder.earlier_datasets import earlier_patches
from tfrecords_builder.earlier_ground import EarlierPatch
from tfrecords_builder.incomplete_bands import incomplete_bands
from tfrecords_builder.lost_labels import ADVICE
from tfrecords_builder.patches import Candidate, SceneJob, read_scans, scene_jobs
from tfrecords_builder.placements import TOO_FEW_LABELLED, TOO_FEW_VALID, Placement
from tfrecords_builder.rasters import BandChoice, SourceRaster, describe, warn_of_unknown_bands
from tfrecords_builder.shards import RecordPlace
from tfrecords_builder.sources import find_sources
from tfrecords_builder.splits import patch_key, split_patches


@dataclass(frozen=True, kw_only=True, eq=False)
class BuildInput:
    """The sources, opened once and found to fit together."""

    rasters: tuple[SourceRaster, ...]
    legend_source: str
    """Name or TOML file of the dataset's legend."""
    crosswalks: tuple[Crosswalk, ...]
    """From each raster's label codes to the dataset's legend."""
    fill: float
    """The dataset's no-data value."""
    earlier: tuple[EarlierPatch, ...] = ()
    """Patches of the datasets whose splits are kept."""

    @property
    def legend(self) -> Legend:
        """The dataset's legend."""
        return self.crosswalks[0].target

    def scene_jobs(self, config: BuildConfig, folder: Path) -> list[SceneJob]:
        """Returns the jobs that together go through every raster once."""
        return scene_jobs(
            self.rasters,
            self.crosswalks,
            grid=config.patch_grid,
            fill=self.fill,
            invalid_bits=config.invalid_bits,
            folder=folder,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Every possible patch and what becomes of it; the first three run in parallel."""

    candidates: tuple[Candidate, ...]
    placements: tuple[Placement, ...]
    keys: tuple[str, ...]
    nodata_px: tuple[int, ...]
    """Pixels of each raster without data."""
    alike_px: tuple[Mapping[float, int], ...]
    """Other pixels of each raster that hold one value in all bands, by that value."""
    lacking_px: tuple[Mapping[int, int], ...]
    """Pixels of each raster that a single band has no data for, by the band's position."""

    def kept(self, split: str | None = None) -> list[int]:
        """Returns the positions of the patches in a split, or in any."""
        return [
            number
            for number, placement in enumerate(self.placements)
            if placement.split is not None and split in (None, placement.split)
        ]

    def dropped(self) -> dict[str, int]:
        """Returns the number of dropped patches by reason."""
        return dict(sorted(Counter(p.reason for p in self.placements if not p.split).items()))


def understand(config: BuildConfig) -> BuildInput:
    """Returns the input of a build, checked as far as headers tell.

    Raises:
        LandCoverError: Sources are missing, damaged, or do not fit together.
    """
    choice = BandChoice(
        names=config.bands,
        indexes=config.band_indexes,
        scale=config.scale,
        offset=config.offset,
        nodata=config.nodata,
    )
    rasters, problems = [], []
    for source in progress(find_sources(config.data_dir), label="opening", unit="image"):
        try:
            rasters.append(describe(source, choice))
        except LandCoverError as error:
            problems.append(str(error))
    raise_problems(problems, f"the input in {config.data_dir} is unfit")
    require_uniform(rasters)
    warn_of_unknown_bands([band.name for band in rasters[0].bands])
    sources = [raster.source for raster in rasters]
    if config.source_legend:
        label_legends.require_unprepared(sources, config.source_legend)
    legend = config.legend or label_legends.legend_of(sources, config.source_legend)
    crosswalks = label_legends.crosswalks_of(rasters, config.source_legend or None, legend)
    label_legends.warn_of_hidden_classes(rasters, crosswalks)
    return BuildInput(
        rasters=tuple(rasters),
        legend_source=legend,
        crosswalks=crosswalks,
        fill=dataset_nodata(rasters),
        earlier=earlier_patches(config, {raster.crs for raster in rasters}),
    )


def make_plan(jobs: Sequence[SceneJob], found: BuildInput, config: BuildConfig) -> Plan:
    """Returns what becomes of every patch that the scans saw.

    Raises:
        LandCoverError: A scan found a problem, labels have unknown codes, no patch is good
            enough, or a split would be empty.
    """
    seen = read_scans(jobs)
    raise_problems(seen.problems, f"the input in {config.data_dir} is unfit")
    if config.unknown_labels == "error":
        _require_known_labels(seen.unknown_codes, found)
    placements: list[Placement | None] = [
        _too_poor(candidate, config) for candidate in seen.candidates
    ]
    good = [number for number, placement in enumerate(placements) if placement is None]
    dropped = Counter(p.reason for p in placements if p is not None)
    if not good:
        reasons = ", ".join(f"{n} with {reason}" for reason, n in sorted(dropped.items()))
        main = max(dropped, key=lambda reason: dropped[reason])
        told = incomplete_bands(found.rasters, seen.lacking_px)
        # Pixels that a band lacks are no usable ones, and say little of the labels.
        if main != TOO_FEW_VALID or not told:
            told = [ADVICE[main], *told]
        raise LabelError(
            f"none of {len(seen.candidates)} patches is good enough: {reasons}; {'; '.join(told)}"
        )
    chosen = [seen.candidates[number] for number in good]
    split = split_patches(
        chosen, found.rasters, found.legend, config, dropped=dropped, earlier=found.earlier
    )
    for number, placement in zip(good, split, strict=True):
        placements[number] = placement
    return Plan(
        candidates=tuple(seen.candidates),
        placements=tuple(p for p in placements if p is not None),
        keys=tuple(patch_key(found.rasters[c.source], c) for c in seen.candidates),
        nodata_px=tuple(seen.nodata_px),
        alike_px=tuple(seen.alike_px),
        lacking_px=tuple(seen.lacking_px),
    )


def cuts_of(
    jobs: Sequence[SceneJob], plan: Plan, places: Mapping[str, RecordPlace]
) -> list[CutJob]:
    """Returns the jobs that cut the plan's patches, given where each key's record goes."""
    chosen: list[list[ChosenPatch]] = [[] for _ in jobs]
    job_of_source = {
        job.first + offset: job.number for job in jobs for offset in range(len(job.rasters))
    }
    for number in plan.kept():
        candidate = plan.candidates[number]
        chosen[job_of_source[candidate.source]].append(
            ChosenPatch(
                source=candidate.source,
                window=candidate.window,
                key=plan.keys[number],
                split=str(plan.placements[number].split),
                place=places[plan.keys[number]],
            )
        )
    return cut_jobs(zip(jobs, chosen, strict=True))


def _require_known_labels(unknown: Sequence[tuple[int, ...]], found: BuildInput) -> None:
    problems = [
        f"{raster.source.label} has codes {some_codes(codes)}, which the {crosswalk} does not know"
        for raster, crosswalk, codes in zip(found.rasters, found.crosswalks, unknown, strict=True)
        if codes
    ]
    raise_problems(
        problems,
        "labels have unknown codes (--legend names the legend of the labels and the dataset, "
        "--source-legend that of labels which become classes of the dataset's legend; "
        "--unknown-labels ignore leaves these pixels unlabelled)",
    )


def _too_poor(candidate: Candidate, config: BuildConfig) -> Placement | None:
    if candidate.valid_fraction < config.min_valid_fraction or not candidate.valid_fraction:
        return Placement(split=None, group="", reason=TOO_FEW_VALID)
    if candidate.labelled_fraction < config.min_labelled_fraction or not candidate.class_pixels:
        return Placement(split=None, group="", reason=TOO_FEW_LABELLED)
    return None
