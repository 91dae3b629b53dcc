"""The patches of datasets that were built before, read from their records."""

from collections.abc import Collection, Mapping
from pathlib import Path

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.system.executors import executor, run_jobs
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.earlier_ground import EarlierPatch
from tfrecords_builder.footprints import COMMON_CRS, plane_of
from tfrecords_builder.reading import StoredShard, processes, shard_patches, stored_shards
from tfrecords_builder.shard_facts import data_place


def earlier_patches(config: BuildConfig, new: Collection[str]) -> tuple[EarlierPatch, ...]:
    """Returns the patches of all datasets of `--split-like`, read from their records.

    Tells of datasets whose blocks are not those of the new one.

    Args:
        config: Settings of the new dataset.
        new: CRSs of its rasters.

    Raises:
        DatasetError: One is missing or damaged, has no CRS, or has a split that the new one lacks.
    """
    found: list[EarlierPatch] = []
    own_blocks: dict[Path, str] = {}
    for folder in config.split_like:
        info = DatasetInfo.load(folder)
        info.verify(folder, checksums=False)
        if lacking := [name for name in info.splits if name not in config.fractions]:
            raise DatasetError(
                f"{folder} has a split {lacking[0]}, for which the new dataset has no share; give "
                f"--{lacking[0]}-fraction"
            )
        patches = _patches_of(folder, info, config.jobs)
        if any(not patch.place.crs for patch in patches):
            raise DatasetError(f"{folder} has images without a CRS, which lie on no known ground")
        # Blocks of a dataset that was split like another may lie as those of that one.
        if info.build_config.get("split") == "blocks" and not info.build_config.get("split_like"):
            own_blocks[folder] = plane_of({patch.place.crs for patch in patches})
        found += patches
    _tell_of_moved_blocks(own_blocks, {*new, *(patch.place.crs for patch in found)} - {""})
    return tuple(found)


def _tell_of_moved_blocks(own_blocks: Mapping[Path, str], systems: Collection[str]) -> None:
    moved = [str(folder) for folder, plane in own_blocks.items() if plane != plane_of(systems)]
    if moved:
        print(
            f"note: the new and the earlier images have {len(systems)} coordinate systems, so "
            f"blocks lie on the equal-area grid {COMMON_CRS} and no longer as those of "
            f"{', '.join(moved)}; more patches are left out"
        )


def _patches_of(folder: Path, info: DatasetInfo, jobs: int | None) -> list[EarlierPatch]:
    work = stored_shards(folder, info)
    with executor(processes(info, jobs)) as pool:
        of_shards = run_jobs(pool, _of_shard, work, label=f"reading {folder.name}")
        return [patch for patches in of_shards for patch in patches]


def _of_shard(job: StoredShard) -> list[EarlierPatch]:
    return [
        EarlierPatch(split=job.split, place=data_place(stored))
        for stored in shard_patches(job.folder, job.info, job.split, job.shard.file)
    ]
