"""The build: look, plan, cut, write shards, describe.

Everything is made in a hidden work folder inside the output folder. Shards move out when all are
done and dataset.json comes last, so what was killed half-way never looks finished.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from landcover_tf.configs.config_files import write_config
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.dataset_shards import SplitInfo
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.datasets.patch_index import PatchEntry, write_index
from landcover_tf.datasets.records import features
from landcover_tf.errors import DatasetError, LabelError, RasterError
from landcover_tf.system.executors import executor, run_jobs, usable_cores
from landcover_tf.system.files import atomic_path, no_empty_folder
from landcover_tf.system.provenance import software_versions
from landcover_tf.validity import bits_by_name
from tfrecords_builder import cutting, patches, shards
from tfrecords_builder.card import FILE_NAME as CARD_NAME
from tfrecords_builder.card import write_card
from tfrecords_builder.checks import dataset_resolution_m, dataset_upsampling
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.cutting import CutResult
from tfrecords_builder.patches import SceneJob
from tfrecords_builder.plan_summary import divided_groups, doubts, summary
from tfrecords_builder.planning import BuildInput, Plan, cuts_of, make_plan, understand
from tfrecords_builder.reflectance_checks import darkness, look_ahead, require_reflectance
from tfrecords_builder.shards import PlannedRecord, ShardJob
from tfrecords_builder.splits import salted_hash
from tfrecords_builder.work_folder import (
    alone,
    open_work_folder,
    remove_work_folder,
    require_free,
)

DROPPED_NAME = "dropped.jsonl"
CONFIG_NAME = "config.json"

Job = TypeVar("Job")


def build(config: BuildConfig) -> DatasetInfo:
    """Builds a dataset and returns its description.

    Raises:
        LandCoverError: The input is unfit, the output folder is taken, or the disk refuses.
    """
    require_free(config)
    found = understand(config)
    config = replace(config, legend=found.legend_source)  # What records tell, whatever chose it.
    with no_empty_folder(config.output_dir), alone(config):
        require_free(config)  # Of what another process did before it let go.
        return _build(config, found)


def _build(config: BuildConfig, found: BuildInput) -> DatasetInfo:
    work = open_work_folder(config, found)
    try:
        made = _make(config, found, work)
    except (DatasetError, LabelError, RasterError):
        # The input or the settings are at fault: what has been done for them is of no use. After
        # a full disk, a lost worker or in the last step, the work folder stays for --resume.
        remove_work_folder(config)
        raise
    _finish(made, config)
    return made.info


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """A dataset whose shards are done."""

    info: DatasetInfo
    jobs: Sequence[ShardJob]
    entries: Sequence[PatchEntry]
    plan: Plan


def _make(config: BuildConfig, found: BuildInput, work: Path) -> _Made:
    """Makes all shards in the work folder."""
    jobs = found.scene_jobs(config, work)
    with executor(_processes(config, found, len(jobs)), config.scheduler) as pool:
        _run(pool, patches.scan, jobs, [job.scan_path for job in jobs], "looking at scenes")
        plan = make_plan(jobs, found, config)
        print(summary(plan, found, config))
        _warn(doubts(plan, found))
        shard_jobs = _shard_jobs(plan, found, config, work)
        flat = [job for group in shard_jobs.values() for job in group]
        look_ahead(jobs, [plan.candidates[n] for n in plan.kept("train")], config.normalizer)
        shards.reserve(flat)
        counted = _cut(pool, jobs, plan, flat)
        normalizer = _normalizer(config, found, counted)
        _run(pool, shards.finish, flat, [job.result_path for job in flat], "checking shards")
    info = _described(config, found, plan, counted, normalizer, _splits(shard_jobs, counted))
    return _Made(info=info, jobs=flat, entries=_entries(shard_jobs, plan, found), plan=plan)


def _warn(doubts: Iterable[str]) -> None:
    for doubt in doubts:
        print(f"warning: {doubt}", file=sys.stderr)


def _normalizer(config: BuildConfig, found: BuildInput, counted: CutResult) -> Normalizer:
    """Returns the normalizer of the training pixels, which must be what it is for."""
    bands = found.rasters[0].bands
    units = [band.scale for band in bands], [band.offset for band in bands]
    require_reflectance(found.rasters, counted.training_px, config.normalizer)
    _warn(darkness(counted.statistics, *units, config.normalizer))
    return Normalizer.fit(config.normalizer, counted.statistics, *units)


def _described(
    config: BuildConfig,
    found: BuildInput,
    plan: Plan,
    counted: CutResult,
    normalizer: Normalizer,
    splits: Mapping[str, SplitInfo],
) -> DatasetInfo:
    first = found.rasters[0]
    return DatasetInfo(
        name=config.name or config.output_dir.resolve().name,
        bands=first.bands,
        dtype=first.dtype,
        nodata=found.fill,
        legend=found.legend,
        patch_grid=config.patch_grid,
        resolution_m=dataset_resolution_m(found.rasters),
        invalid_bits=config.invalid_bits,
        statistics=counted.statistics,
        normalizer=normalizer,
        splits=splits,
        products=tuple({r.source.product.id: r.source.product for r in found.rasters}.values()),
        compression=config.compression,
        upsampling=dataset_upsampling(found.rasters),
        build_config={
            **config.build_settings(),
            "dropped_patches": plan.dropped(),
            # What the records do not tell, and the audit says.
            "divided_groups": divided_groups(plan, found),
        },
        software=software_versions(),
        features=features(patch_size=config.patch_size, bands=len(first.bands), dtype=first.dtype),
        validity_bits=bits_by_name(),
    )


def _cut(
    pool: Executor, jobs: Sequence[SceneJob], plan: Plan, shard_jobs: Sequence[ShardJob]
) -> CutResult:
    """Cuts all records; where each goes is forgotten afterwards."""
    places = {key: place for job in shard_jobs for key, place in job.places().items()}
    cuts = cuts_of(jobs, plan, places)
    _run(pool, cutting.cut, cuts, [job.path for job in cuts], "cutting patches")
    return cutting.totals(cuts)


def _run(
    pool: Executor,
    function: Callable[[Job], None],
    jobs: Sequence[Job],
    done_paths: Sequence[Path],
    label: str,
) -> None:
    """Runs the jobs whose result is not there yet."""
    waiting = [job for job, path in zip(jobs, done_paths, strict=True) if not path.is_file()]
    if waiting:
        run_jobs(pool, function, waiting, label=label)


def _processes(config: BuildConfig, found: BuildInput, scene_jobs: int) -> int:
    if config.jobs is not None:
        return config.jobs
    pixels = sum(raster.height * raster.width for raster in found.rasters)
    return min(usable_cores(), max(scene_jobs, math.ceil(pixels / cutting.BAND_PX)))


def _shard_jobs(
    plan: Plan, found: BuildInput, config: BuildConfig, work: Path
) -> dict[str, list[ShardJob]]:
    """Returns the shards of each split; records are ordered by the salted hash of their key."""
    records: dict[str, list[PlannedRecord]] = defaultdict(list)
    for number in plan.kept():
        candidate, key = plan.candidates[number], plan.keys[number]
        length = cutting.record_length(found.rasters[candidate.source], candidate.window, key)
        records[str(plan.placements[number].split)].append(PlannedRecord(key=key, length=length))
    return {
        split: shards.shard_jobs(
            split,
            sorted(records[split], key=lambda record: salted_hash(record.key, config.seed)),
            shard_size_bytes=config.shard_size_mb * 1e6,
            compression=config.compression,
            folder=work,
        )
        for split in ("train", "val", "test")
        if split in records
    }


def _splits(shard_jobs: dict[str, list[ShardJob]], counted: CutResult) -> dict[str, SplitInfo]:
    return {
        split: SplitInfo(
            shards=tuple(shards.read_result(job) for job in jobs),
            class_pixels=counted.class_pixels.get(split, {}),
        )
        for split, jobs in shard_jobs.items()
    }


def _entries(
    shard_jobs: dict[str, list[ShardJob]], plan: Plan, found: BuildInput
) -> list[PatchEntry]:
    number_of = {plan.keys[number]: number for number in plan.kept()}
    entries = []
    for split, jobs in shard_jobs.items():
        for job in jobs:
            for position, record in enumerate(job.records):
                number = number_of[record.key]
                candidate = plan.candidates[number]
                raster = found.rasters[candidate.source]
                x, y = raster.center(candidate.window)
                entries.append(
                    PatchEntry(
                        key=record.key,
                        split=split,
                        shard=job.name,
                        position=position,
                        product=raster.source.product.id,
                        group=plan.placements[number].group,
                        row_off=candidate.window.row_off,
                        col_off=candidate.window.col_off,
                        crs=raster.crs,
                        x=x,
                        y=y,
                        valid_fraction=candidate.valid_fraction,
                        labelled_fraction=candidate.labelled_fraction,
                        class_pixels=candidate.class_pixels,
                    )
                )
    return entries


def _finish(made: _Made, config: BuildConfig) -> None:
    """Moves the shards out of the work folder and writes the descriptions, dataset.json last."""
    output = config.output_dir
    for job in made.jobs:
        # After an interrupted finish, a shard may be in place already.
        if job.path.is_file():
            job.path.replace(output / job.name)
    write_index(output, made.entries)
    write_card(output, made.info, made.entries, output / CARD_NAME)
    _write_dropped(made.plan, output / DROPPED_NAME)
    # A request for one run: not stored in the settings, which may be used again.
    write_config(replace(config, resume=False), output / CONFIG_NAME)
    made.info.save(output)
    remove_work_folder(config)


def _write_dropped(plan: Plan, path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w") as file:
        for key, candidate, placement in zip(
            plan.keys, plan.candidates, plan.placements, strict=True
        ):
            if placement.split is None:
                values = {
                    "key": key,
                    "reason": placement.reason,
                    "valid_fraction": candidate.valid_fraction,
                    "labelled_fraction": candidate.labelled_fraction,
                }
                file.write(json.dumps(values, separators=(",", ":")) + "\n")
