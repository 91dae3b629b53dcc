"""The patches of datasets that were built before, read from their records."""

from dataclasses import dataclass
from pathlib import Path

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.executors import executor, run_jobs
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.earlier_ground import EarlierPatch
from tfrecords_builder.reading import processes, shard_patches
from tfrecords_builder.shard_facts import data_place


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    folder: Path
    info: DatasetInfo
    split: str
    shard: str


def earlier_patches(config: BuildConfig) -> tuple[EarlierPatch, ...]:
    """Returns the patches of all datasets of `--split-like`, read from their records.

    Raises:
        DatasetError: One is missing or damaged, has no CRS, or has a split that the new one lacks.
    """
    found: list[EarlierPatch] = []
    for folder in config.split_like:
        info = DatasetInfo.load(folder)
        info.verify(folder, checksums=False)
        if lacking := [name for name in info.splits if name not in config.fractions]:
            raise DatasetError(
                f"{folder} has a split {lacking[0]}, for which the new dataset has no share; give "
                f"--{lacking[0]}-fraction"
            )
        work = [
            _Job(folder=folder, info=info, split=name, shard=shard.file)
            for name, split in info.splits.items()
            for shard in split.shards
        ]
        with executor(processes(info, config.jobs)) as pool:
            for patches in run_jobs(pool, _of_shard, work, label=f"reading {folder.name}"):
                found += patches
        if any(not patch.place.crs for patch in found):
            raise DatasetError(f"{folder} has images without a CRS, which lie on no known ground")
    return tuple(found)


def _of_shard(job: _Job) -> list[EarlierPatch]:
    return [
        EarlierPatch(split=job.split, place=data_place(stored))
        for stored in shard_patches(job.folder, job.info, job.split, job.shard)
    ]
