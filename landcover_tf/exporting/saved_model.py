"""From a trained network to a version folder: SavedModel, model.json, warm-up, other formats."""

import hashlib
import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.records import decode
from landcover_tf.datasets.tfrecord import compression_type
from landcover_tf.exporting.comparison import ExportCheck, check_export
from landcover_tf.exporting.model_formats import WRITERS
from landcover_tf.exporting.model_item import CARD_NAME, write_model_item
from landcover_tf.exporting.model_versions import remember, remove_unfinished
from landcover_tf.exporting.served_model import ServedModel
from landcover_tf.exporting.warmup import write_warmup
from landcover_tf.model_info import ModelInfo
from landcover_tf.system.files import atomic_folder, full_disk_told, write_text

CHECK_PATCHES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckImages:
    """What an export is checked on."""

    stored: np.ndarray
    """Stored values, [n, patch_size, patch_size, bands]."""
    lacking: str
    """Why they are random; empty where they are patches of the dataset."""

    def __str__(self) -> str:
        return "random images" if self.lacking else "patches of the dataset"


def write_export(
    network: keras.Model,
    info: ModelInfo,
    folder: Path,
    *,
    check_images: np.ndarray,
    formats: Sequence[str] = (),
    card: str = "",
) -> ExportCheck:
    """Writes a version folder, whole or not at all, and returns how exactly it answers.

    Args:
        network: Reflectance [batch, height, width, bands] to logits.
        info: The contract, written as `model.json`.
        folder: `.../<name>/<version>`; must not exist.
        check_images: Stored values, [batch, height, width, bands], on which every written
            model must answer what `network` answers.
        formats: Further formats, keys of `model_formats.WRITERS`; each gets a subfolder.
        card: The model card, which also tells the licence of pretrained weights.

    Raises:
        ModelError: A written model answers differently from the Keras model.
        OutputError: The folder exists or cannot be written.
    """
    remove_unfinished(folder.parent)
    with atomic_folder(folder) as temporary, full_disk_told(folder):
        module = ServedModel(network, info)
        signatures = {name: getattr(module, name) for name in info.signatures}
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        # TensorFlow leaves an empty folder where vocabularies would be.
        shutil.rmtree(temporary / "assets", ignore_errors=True)
        write_warmup(temporary, info)
        info.save(temporary)
        if card:
            write_text(temporary / CARD_NAME, card)
        write_model_item(temporary, info, parameters=network.count_params())
        check = check_export(temporary, network, info, check_images)
        for name in formats:
            (temporary / name).mkdir()
            WRITERS[name](temporary, temporary / name, check_images)
        remember(folder.parent, info.version)
    return check


def sample_images(dataset: DatasetInfo, data_dir: Path, patch_size: int) -> CheckImages:
    """Returns images to check an export on.

    They are real patches where the dataset is still in `data_dir`; otherwise each band is drawn
    from the 1st to 99th percentile of the training pixels. A corner is without data.
    """
    paths, lacking = _shards(dataset, data_dir, patch_size)
    if paths:
        records = tf.data.TFRecordDataset(
            [str(path) for path in paths], compression_type=compression_type(dataset.compression)
        )
        first = itertools.islice(records.as_numpy_iterator(), CHECK_PATCHES)
        images = np.stack([decode(r).image[:patch_size, :patch_size] for r in first])
    else:
        rng = np.random.default_rng(0)
        low, high = (np.nan_to_num(dataset.statistics.percentile(q)) for q in (1, 99))
        shape = (CHECK_PATCHES, patch_size, patch_size, len(dataset.bands))
        images = rng.uniform(low, np.maximum(high, low + 1e-3), shape).astype(dataset.dtype)
    images[0, : patch_size // 4, : patch_size // 4] = dataset.nodata
    return CheckImages(stored=images, lacking=lacking)


def weights_hash(network: keras.Model) -> str:
    """Returns the SHA-256 of all weights in order, independent of the file they are in."""
    digest = hashlib.sha256()
    for variable in network.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _shards(dataset: DatasetInfo, data_dir: Path, patch_size: int) -> tuple[list[Path], str]:
    """Returns the shards of a split that is complete in `data_dir`, or none and the reason."""
    grid_size = dataset.patch_grid.patch_size
    if grid_size < patch_size:
        return [], f"patches of the dataset have {grid_size} px, those of the run {patch_size} px"
    for split in ("val", "test", "train"):
        if split in dataset.splits and dataset.splits[split].records:
            paths = dataset.shard_paths(data_dir, split)
            if all(path.is_file() for path in paths):
                return paths, ""
    return [], f"{data_dir} holds no split with all its shards"
