"""Reads a dataset again, whole: `python -m tfrecords_builder.validate DATASET`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.patch_index import PatchEntry, read_index
from landcover_tf.errors import DatasetError
from landcover_tf.system.earlier_reports import require_report
from landcover_tf.system.executors import executor, run_jobs
from landcover_tf.system.files import write_json
from tfrecords_builder.mismatch import LabelShift, OddSpectra
from tfrecords_builder.reading import StoredShard, processes, stored_shards
from tfrecords_builder.shard_checks import (
    SeenRecord,
    ShardFindings,
    check_shard,
    is_lost,
)


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Reads every byte of a dataset again and checks it.

    Exit code 1 when something is wrong; hints, which may be right, do not change it.
    """

    data_dir: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json; also as --data-dir."""
    report: Path | None = None
    """JSON file to write the findings to."""
    limit: int = 20
    """Most problems and hints to print; the report has all."""
    jobs: int | None = None
    """Processes; by default one per core as far as there is work for them, 1 works in this one."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(self, 1, "jobs")


@dataclass(kw_only=True)
class Findings:
    """What a validation found."""

    records: int = 0
    problems: list[str] = field(default_factory=list)
    """What is wrong; each names shard and record."""
    hints: list[str] = field(default_factory=list)
    """What looks strange."""


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when the dataset is sound, 1 when something is wrong."""
    return cli.run(ValidateConfig, _program, argv, prog="landcover validate")


def validate_dataset(folder: Path, *, jobs: int | None = 1) -> Findings:
    """Returns everything that is wrong or strange in a dataset; the same for any `jobs`.

    Args:
        folder: Folder with dataset.json.
        jobs: Processes that read shards; None is one per core as far as there is work for them.

    Raises:
        DatasetError: There is no dataset, or its description is unreadable.
    """
    info = DatasetInfo.load(folder)
    found = Findings()
    index = _index(folder, found)
    checks = stored_shards(folder, info)
    with executor(processes(info, jobs)) as pool:
        shards = run_jobs(pool, check_shard, checks, label="reading shards", unit="shard")
    _compare(checks, shards, index, found)
    shift, spectra = LabelShift(), OddSpectra()
    for seen in shards:
        shift.merge(seen.shift)
        spectra.merge(seen.spectra)
    found.hints += shift.hints() + spectra.hints(info.legend)
    return found


def _program(config: ValidateConfig) -> int:
    require_report(config.report, [f.name for f in fields(Findings)])
    found = validate_dataset(config.data_dir, jobs=config.jobs)
    if config.report is not None:
        write_json(config.report, asdict(found))
    for title, sentences in (("PROBLEM", found.problems), ("hint", found.hints)):
        for sentence in sentences[: config.limit]:
            print(f"{title}: {sentence}")
        if len(sentences) > config.limit:
            print(f"{title}: and {len(sentences) - config.limit} more (--report has all)")
    state = "something is wrong" if found.problems else "the dataset is sound"
    print(
        f"{found.records} records read, {len(found.problems)} problems, {len(found.hints)} hints: "
        f"{state}"
    )
    return 1 if found.problems else 0


def _index(folder: Path, found: Findings) -> Mapping[str, PatchEntry]:
    try:
        return {entry.key: entry for entry in read_index(folder)}
    except DatasetError as error:
        found.problems.append(str(error))
        return {}


def _compare(
    checks: Sequence[StoredShard],
    shards: Sequence[ShardFindings],
    index: Mapping[str, PatchEntry],
    found: Findings,
) -> None:
    """Adds what was found in the shards, and where records contradict others or the index."""
    key_at: dict[str, str] = {}
    content_at: dict[bytes, str] = {}
    for check, seen in zip(checks, shards, strict=True):
        found.records += seen.readable
        found.hints += seen.hints
        for record in seen.records:
            if isinstance(record, str):
                found.problems.append(record)
                continue
            wrong = [*record.problems, *_index_problems(record, check, index)]
            first = content_at.setdefault(record.content, record.where)
            if first != record.where and not record.constant:
                wrong.append(f"holds the same pixels as {first}")
            first = key_at.setdefault(record.key, record.where)
            if first != record.where:
                wrong.append(f"has the key of {first}")
            found.problems += [f"{record.where} {problem}" for problem in wrong]
        found.problems += seen.problems
    found_in = {check.shard.file: seen for check, seen in zip(checks, shards, strict=True)}
    missing = sorted(
        key
        for key, entry in index.items()
        if key not in key_at
        and not (entry.shard in found_in and is_lost(found_in[entry.shard], entry.position))
    )
    if missing:
        found.problems.append(
            f"{len(missing)} patches of the index are in no shard, for example {missing[0]}"
        )


def _index_problems(
    record: SeenRecord, check: StoredShard, index: Mapping[str, PatchEntry]
) -> list[str]:
    if not index or record.class_pixels is None:
        return []
    entry = index.get(record.key)
    if entry is None:
        return ["is not in the patch index"]
    wrong, pixels = [], record.class_pixels
    if (entry.split, entry.shard) != (check.split, check.shard.file):
        wrong.append(f"is in {check.split}, but the index says {entry.split}, {entry.shard}")
    if pixels != dict(entry.class_pixels):
        wrong.append(f"has class pixels {pixels}, but the index says {dict(entry.class_pixels)}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
