"""The two ways that shards reach the network: shuffled and augmented, or in order and whole.

Both give (reflectance float32 [batch, size, size, bands], dense label uint8
[batch, size, size]). Nothing in the training pipeline carries hidden state: every random choice
follows from (seed, epoch, step), and for the order also from TensorFlow's global seed where one is
set, so training that resumes at a step sees the very batches that it would have seen without the
interruption.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.tfrecord import compression_type
from landcover_tf.input_pipeline.augment import augment
from landcover_tf.input_pipeline.augmentation_settings import AugmentationSettings
from landcover_tf.input_pipeline.cuts import cut_origins, free_shift
from landcover_tf.input_pipeline.decoding import decode_batch, stored_rasters
from landcover_tf.input_pipeline.sampling import rare_classes, times_seen, training_factors

Stored = tuple[tf.Tensor, ...]
"""A patch before it is decoded, or a batch of them, see `_patches`."""
# Records are about 1.8 MB: through a buffer, every byte would only be copied once more.
READ_BUFFER_BYTES = 0
ENDLESS = 2**31
DECODED_ALONE = 2**19
"""Values of a patch from which on evaluation decodes it before it is batched: its bytes then stay
in the processor's cache from one operation to the next. Smaller ones cost more in calls."""
SHUFFLED_RECORDS, LEAST_SHUFFLED = 512, 64
SHUFFLED_BYTES = 2**30
"""Larger records are shuffled among fewer, as many as fit, so that memory does not follow size."""
# One for each kind of draw: two with the same number would not be independent.
_SHARD_ORDER, _REPEATS, _SHUFFLE, _AUGMENTATION, _CUT_SHIFT = range(5)


def shuffled_patches(info: DatasetInfo, size: int) -> int:
    """Returns how many patches of `size` px are held for shuffling, before they are decoded.

    They take as much memory as the records that are held where none is cut. It follows from
    dataset and patch size alone, so that a training that resumes, on whatever machine, keeps the
    order of its batches.
    """
    # Stored values, and one byte each for label and validity.
    pixel_bytes = len(info.bands) * np.dtype(info.dtype).itemsize + 2
    record_px = info.patch_grid.patch_size**2
    fitting = SHUFFLED_BYTES // (record_px * pixel_bytes)
    records = min(max(fitting, LEAST_SHUFFLED), SHUFFLED_RECORDS)
    return records * record_px // size**2


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """What every epoch of a training shows; its properties are found when they are asked for.

    Raises:
        ConfigError: Larger patches are wanted than the dataset holds.
        DatasetError: There is no training record, or no index to oversample by.
    """

    info: DatasetInfo
    folder: str | Path
    """Where the dataset's shards are."""
    batch_size: int
    """Patches in every batch."""
    patch_size: int | None = None
    """Patch height and width in pixels, at most that of the records."""
    patch_overlap: int | None = None
    """Pixels that patches cut from one record share."""
    oversampling: float = 0.0
    """Records with classes that fewer than this share of the records have are repeated, with all
    their cuts, see `sampling.repeat_factors`; 0 shows every record once."""

    @cached_property
    def cuts(self) -> tuple[int, np.ndarray]:
        """Patch height and width in pixels, and where in a record each patch begins, as
        `cut_origins` gives them."""
        return cut_origins(
            self.info.patch_grid, self.patch_size, self.patch_overlap, every_pixel=False
        )

    @cached_property
    def factors(self) -> np.ndarray | None:
        """How often each record is seen on average, float64 [records]; None if all are once."""
        return training_factors(self.info, str(self.folder), self.oversampling)

    @property
    def patches(self) -> int:
        """Patches that an epoch has to show."""
        seen = self.info.split("train").records if self.factors is None else self.factors.sum()
        return int(seen) * len(self.cuts[1])

    @property
    def steps(self) -> int:
        """Whole batches in an epoch, at least 1."""
        return max(self.patches // self.batch_size, 1)


# AutoGraph would rewrite the sources of all augmentations, which have no control flow for it.
@tf.autograph.experimental.do_not_convert
def training_dataset(
    plan: EpochPlan,
    *,
    seed: int,
    augmentation: AugmentationSettings,
    start_epoch: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Returns endless training batches; an epoch is `plan.steps` of them.

    Args:
        plan: What an epoch shows.
        seed: Decides every shuffle and every augmentation.
        augmentation: What is done to the batches.
        start_epoch: Epoch of the first batch.
        start_step: Batch of that epoch to begin with, at most `plan.steps`; patches before it are
            read and cut, not decoded.
    """
    info, factors, (size, _) = plan.info, plan.factors, plan.cuts
    rare = rare_classes(info)
    held = shuffled_patches(info, size)

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        numbered = _shuffled_records(plan, _key(seed, epoch, _SHARD_ORDER))
        if factors is not None:
            key = _key(seed, epoch, _REPEATS)
            offset = tf.random.stateless_uniform([], key, dtype=tf.float64)
            numbered = numbered.flat_map(_repeated(times_seen(factors, offset)))
        records = numbered.map(lambda _, record: record)
        shifted = _shifted_origins(plan, _key(seed, epoch, _CUT_SHIFT))
        dataset = _patches(records, info, size, shifted)
        # Stored values are half the size of decoded ones, and shuffling within the epoch shows
        # every patch before any is shown again.
        # The cuts of a record follow each other: a buffer of as many cuts as records would hold
        # few records, and batches of few records make noisy steps.
        dataset = dataset.shuffle(held, seed=_key(seed, epoch, _SHUFFLE)[0])
        if plan.patches < plan.batch_size:
            dataset = dataset.repeat()
        # Before the batch, which copies what it takes.
        first = tf.where(epoch == start_epoch, tf.constant(start_step, tf.int64), 0)
        dataset = dataset.skip(first * plan.batch_size)
        dataset = dataset.batch(plan.batch_size, drop_remainder=True).take(plan.steps - first)
        return dataset.enumerate(first).map(lambda step, batch: (epoch, step, batch))

    def finish(epoch: tf.Tensor, step: tf.Tensor, batch: Stored) -> tuple[tf.Tensor, tf.Tensor]:
        image, label, usable = _decoded(batch, info)
        batch_key = tf.random.fold_in(_key(seed, epoch, _AUGMENTATION), step)
        return augment(
            image,
            label,
            usable,
            batch_key,
            augmentation,
            band_names=info.band_names,
            rare_classes=rare,
        )

    dataset = tf.data.Dataset.range(start_epoch, ENDLESS).flat_map(batches_of)
    dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())


@tf.autograph.experimental.do_not_convert
def evaluation_dataset(
    info: DatasetInfo,
    folder: str | Path,
    split: str,
    *,
    batch_size: int,
    patch_size: int | None = None,
    patch_overlap: int | None = None,
    only: np.ndarray | None = None,
    with_usable: bool = False,
) -> tf.data.Dataset:
    """Returns every patch of a split once, in the order of the index; the last batch may be small.

    Args:
        info: The dataset.
        folder: Where its shards are.
        split: For example `val`.
        batch_size: Patches in a batch.
        patch_size: Patch height and width in pixels, at most that of the records.
        patch_overlap: Pixels that patches cut from one record share.
        only: Numbers in the split of the records to take, ascending; None takes all. Shards
            without any are not read.
        with_usable: Give as a third part of the batch which pixels are usable, bool [batch, size,
            size].

    Raises:
        ConfigError: Larger patches are wanted than the dataset holds.
        DatasetError: The split is missing or empty.
    """
    size, origins = cut_origins(info.patch_grid, patch_size, patch_overlap)
    dataset = _patches(_records(info, folder, split, only), info, size, origins)
    parts = 3 if with_usable else 2

    def decoded(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return _decoded(batch, info)[:parts]

    def decoded_alone(*patch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(part[0] for part in decoded(*(one[None] for one in patch)))

    parallel = tf.data.AUTOTUNE
    if size**2 * len(info.bands) >= DECODED_ALONE:
        dataset = dataset.map(decoded_alone, num_parallel_calls=parallel)
        dataset = dataset.batch(batch_size, num_parallel_calls=parallel)
    else:
        dataset = dataset.batch(batch_size).map(decoded, num_parallel_calls=parallel)
    count = info.split(split).records if only is None else len(only)
    cardinality = -(-count * len(origins) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())


def _records(
    info: DatasetInfo, folder: str | Path, split: str, only: np.ndarray | None
) -> tf.data.Dataset:
    """Returns the serialised records of a split, or some of them, in order."""
    paths = np.array([str(path) for path in info.shard_paths(folder, split)])
    counts = [shard.records for shard in info.split(split).shards if shard.records]
    wanted = np.ones(sum(counts), bool)
    if only is not None:
        wanted = np.isin(np.arange(len(wanted)), only)
        of_shards = np.split(wanted, np.cumsum(counts)[:-1])
        held = np.array([one.any() for one in of_shards])
        paths, wanted = paths[held], wanted[held.repeat(counts)]
    dataset = tf.data.TFRecordDataset(
        paths.tolist(), compression_type(info.compression), buffer_size=READ_BUFFER_BYTES
    )
    if wanted.all():
        return dataset
    dataset = dataset.enumerate().filter(lambda number, _: tf.gather(tf.constant(wanted), number))
    return dataset.map(lambda _, record: record)


def _shuffled_records(plan: EpochPlan, key: tf.Tensor) -> tf.data.Dataset:
    """Returns (number in the split, serialised record), shards interleaved at random."""
    info = plan.info
    paths = [str(path) for path in info.shard_paths(plan.folder, "train")]
    counts = [shard.records for shard in info.split("train").shards if shard.records]
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    order = tf.random.experimental.stateless_shuffle(tf.range(len(paths)), key)

    def records_of(shard: tf.Tensor) -> tf.data.Dataset:
        shard_records = tf.data.TFRecordDataset(
            tf.gather(tf.constant(paths), shard),
            compression_type(info.compression),
            buffer_size=READ_BUFFER_BYTES,
        )
        return shard_records.enumerate(tf.gather(tf.constant(firsts), shard))

    return tf.data.Dataset.from_tensor_slices(order).interleave(
        records_of,
        cycle_length=min(8, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _repeated(times: tf.Tensor):
    """Returns a function of one numbered record that gives it as often as it is to be seen.

    All share one buffer, so a repeated record takes no more memory in the shuffle.
    """

    def repeated(number: tf.Tensor, record: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors((number, record)).repeat(tf.gather(times, number))

    return repeated


def _shifted_origins(
    plan: EpochPlan, key: tf.Tensor
) -> np.ndarray | Callable[[tf.Tensor], tf.Tensor]:
    """Returns where cuts begin, for `_patches`: shifted together where they leave pixels out.

    What they leave out differs between records, and with the key between epochs.
    """
    size, origins = plan.cuts
    least, greatest = free_shift(plan.info.patch_grid, size, origins)
    # Shifts beyond the record are clipped: at its edge lie pixels that else hardly any shift would
    # show.
    reach = (greatest - least) // 2

    def shifted(place: tf.Tensor) -> tf.Tensor:
        shift = tf.random.stateless_uniform(
            [2], tf.random.fold_in(key, place), least - reach, greatest + reach + 1, tf.int32
        )
        return origins + tf.clip_by_value(shift, least, greatest)

    return shifted if least < greatest else origins


def _patches(
    records: tf.data.Dataset,
    info: DatasetInfo,
    size: int,
    origins: np.ndarray | Callable[[tf.Tensor], tf.Tensor],
) -> tf.data.Dataset:
    """Returns (record) of serialised records as they are, or (values, label, validity) of each cut.

    Where the cuts begin may depend on the place of the record among `records`.

    A cut has bytes of its own: were they the record's, all of a record would stay in the memory of
    the shuffle for its last cut, and every batch would copy it for each of them.
    """
    if size == info.patch_grid.patch_size:
        return records.map(lambda record: (record,))

    def cuts(place: tf.Tensor, record: tf.Tensor) -> tf.data.Dataset:
        rasters = stored_rasters(record, info)

        def cut(origin: tf.Tensor) -> Stored:
            def of(raster: tf.Tensor) -> tf.Tensor:
                depth = raster.shape[2:].as_list()
                return tf.slice(raster, tf.pad(origin, [[0, len(depth)]]), [size, size, *depth])

            return tuple(of(raster) for raster in rasters)

        here = origins(place) if callable(origins) else origins
        return tf.data.Dataset.from_tensor_slices(here).map(cut)

    return records.enumerate().flat_map(cuts)


def _decoded(batch: Stored, info: DatasetInfo) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what `decode_batch` makes of a batch of `_patches`."""
    return decode_batch(*(stored_rasters(*batch, info) if len(batch) == 1 else batch), info)


def _key(seed: int, epoch: tf.Tensor, purpose: int) -> tf.Tensor:
    """Returns a random key, int64 [2], of its own for each epoch and purpose."""
    key = tf.random.fold_in(tf.constant([seed, purpose], tf.int64), epoch)
    return tf.cast(key, tf.int64)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # A file-wise split among workers cannot see through the epochs' flat_map. So every worker makes
    # the whole batch: augmentation mixes its patches, and draws for all of them at once.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
