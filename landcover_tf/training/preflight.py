"""Checks that cost no TensorFlow: the dataset, the settings against it, and the run folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.configs.config_files import config_dict, default_dict, write_config
from landcover_tf.configs.settings_changes import changes
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, DatasetError, OutputError, RunError
from landcover_tf.input_pipeline.augmentation_settings import (
    AugmentationSettings,
    load_augmentation,
)
from landcover_tf.input_pipeline.cuts import cut_origins
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import is_partial, write_json
from landcover_tf.training.class_weights import class_weights
from landcover_tf.training.config import FREE_FIELDS, TrainConfig


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What the checks found."""

    info: DatasetInfo
    run: RunFolder
    augmentation: AugmentationSettings
    finished: bool
    """The very run is finished already."""


def check(config: TrainConfig) -> Preflight:
    """Returns the dataset and the run folder after checking that they fit the config.

    Raises:
        DatasetError: The dataset is missing, damaged, empty, or has one class only.
        ConfigError: The batch or the patches are too large for it, its legend has another number of
            classes than --class-weights, or the augmentation's file is wrong.
        RunError: The run folder holds a run of another config or dataset.
        OutputError: The run folder cannot be written.
    """
    info = check_dataset(config.data_dir)
    check_batch(config, info)
    if config.pixel_term:
        class_weights(config.class_weights, info.class_counts("train").tolist())
    augmentation = load_augmentation(config.augmentation)
    run = RunFolder(config.output_dir)
    _check_run_folder(config, info, augmentation, run)
    return Preflight(info=info, run=run, augmentation=augmentation, finished=run.is_finished())


def check_dataset(data_dir: Path) -> DatasetInfo:
    """Returns a dataset after checking that a network can learn from it.

    Raises:
        DatasetError: It is missing, damaged, empty, or has one class only.
    """
    info = DatasetInfo.load(data_dir)
    info.verify(data_dir, checksums=False)
    _check_splits(info)
    return info


def check_batch(config: TrainConfig, info: DatasetInfo) -> None:
    """Checks that the training split gives a batch of patches of the config's size.

    Raises:
        ConfigError: The batch or the patches are too large for it.
    """
    stored = info.patch_grid
    if config.patch_size > stored.patch_size:
        raise ConfigError(
            f"--patch-size {config.patch_size} is larger than the dataset's patches of "
            f"{stored.patch_size} px; lower it or build the dataset with larger patches"
        )
    patches = training_patches(info, config.patch_size, config.patch_overlap)
    if config.batch_size > patches:
        raise ConfigError(
            f"--batch-size {config.batch_size} is larger than the training split, which gives "
            f"{patches} patches of {config.patch_size} px; lower --batch-size"
        )


def training_patches(info: DatasetInfo, patch_size: int, patch_overlap: int | None) -> int:
    """Returns how many patches an epoch has of a size and overlap in pixels."""
    _, origins = cut_origins(info.patch_grid, patch_size, patch_overlap, every_pixel=False)
    return info.split("train").records * len(origins)


def dataset_changes(info: DatasetInfo, run: RunFolder) -> list[str]:
    """Returns what of a dataset, as the network of a run sees it, is not as when the run began."""
    if not run.dataset.is_file():
        return []
    own = run.read_config().get("normalizer") is not None
    return info.changes_since(DatasetInfo.load(run.dataset), own_normalizer=own)


def tell_finished(run: RunFolder) -> None:
    """Prints that a run is finished already, which is no error."""
    best = run.read_summary().get("best_epoch")
    print(f"the run in {run.path} is finished (best epoch {best}); nothing to do")


def write_settings(config: TrainConfig, found: Preflight) -> None:
    """Writes what tells this run from another into its folder, for the next `check`."""
    write_config(config, found.run.config)
    write_config(found.augmentation, found.run.augmentation)
    write_json(found.run.dataset, found.info.to_dict())


def _check_splits(info: DatasetInfo) -> None:
    if "val" not in info.splits or not info.splits["val"].records:
        raise DatasetError(
            f"dataset {info.name} has no validation patch, and training needs some to choose its "
            "best epoch; build it with a --val-fraction above 0, or prescribe val where splits are "
            "prescribed"
        )
    for name in ("train", "val"):
        if not info.split(name).class_pixels:
            raise DatasetError(f"split {name!r} of dataset {info.name} has no labelled pixel")
    present = [c.name for c in info.legend.classes if info.splits["train"].class_pixels.get(c.code)]
    if len(present) < 2:
        raise DatasetError(
            f"training needs at least two classes, the training split of {info.name} has "
            f"{len(present)} ({', '.join(present) or 'none'}); add labelled scenes or check the "
            "legend"
        )


def _check_run_folder(
    config: TrainConfig, info: DatasetInfo, augmentation: AugmentationSettings, run: RunFolder
) -> None:
    if run.config.is_file():
        _check_same_run(config, info, augmentation, run)
    elif run.path.is_dir() and any(_is_foreign(path, run) for path in run.path.iterdir()):
        raise OutputError(
            f"--output-dir {run.path} holds other files and no run; choose a new folder"
        )
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create --output-dir {run.path}: {error.strerror}") from error
    if not os.access(run.path, os.W_OK):
        raise OutputError(f"no permission to write into --output-dir {run.path}")


def _is_foreign(path: Path, run: RunFolder) -> bool:
    """Returns whether a file in a folder without a config is none that a run begins with."""
    return path not in (run.lock, run.shard_hashes) and not is_partial(path)


def _check_same_run(
    config: TrainConfig, info: DatasetInfo, augmentation: AugmentationSettings, run: RunFolder
) -> None:
    # A setting that a newer version added had its default before.
    before = default_dict(TrainConfig) | run.read_config()
    now = config_dict(config)
    augmented = run.read_augmentation()
    if augmented is not None:
        augmented = default_dict(AugmentationSettings) | augmented
        # What a file says counts, not its name: it may have been moved, or edited.
        before["augmentation"], now["augmentation"] = augmented, config_dict(augmentation)
    different = changes(before, now, free=FREE_FIELDS)
    if different:
        raise RunError(
            f"{run.path} holds a run of another config: {', '.join(different)}; repeat its "
            "command to continue it, choose another --output-dir, or move the folder away"
        )
    changed = dataset_changes(info, run)
    if changed:
        raise RunError(
            f"{run.path} was trained on another dataset than {config.data_dir}: "
            f"{', '.join(changed)}; choose another --output-dir"
        )
