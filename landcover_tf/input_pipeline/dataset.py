"""The two ways that shards reach the network: shuffled and augmented, or in order and whole.

Both give (reflectance float32 [batch, size, size, bands], dense label uint8
[batch, size, size]). Nothing in the training pipeline carries hidden state: every random choice
follows from (seed, epoch, step), and for the order also from TensorFlow's global seed where one is
set, so training that resumes at a step sees the very batches that it would have seen without the
interruption.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.input_pipeline.augment import augment
from landcover_tf.input_pipeline.augmentation_settings import AugmentationSettings
from landcover_tf.input_pipeline.cuts import cut_origins
from landcover_tf.input_pipeline.decoding import decode_batch
from landcover_tf.input_pipeline.sampling import rare_classes, times_seen, training_factors
from landcover_tf.tfrecord import compression_type

# Records are about 1.8 MB: through a buffer, every byte would only be copied once more.
READ_BUFFER_BYTES = 0
ENDLESS = 2**31
DECODED_ALONE = 2**19
"""Values of a patch from which on evaluation decodes it before it is batched: its bytes then stay
in the processor's cache from one operation to the next. Smaller ones cost more in calls."""
SHUFFLED_RECORDS, LEAST_SHUFFLED = 512, 64
SHUFFLED_BYTES = 2**30
"""Larger records are shuffled among fewer, as many as fit, so that memory does not follow size."""


def shuffled_records(info: DatasetInfo) -> int:
    """Returns how many serialised records are held for shuffling.

    It follows from the dataset alone, so that a training that resumes, on whatever machine, keeps
    the order of its batches.
    """
    # Stored values, and one byte each for label and validity.
    pixel_bytes = len(info.bands) * np.dtype(info.dtype).itemsize + 2
    fitting = SHUFFLED_BYTES // (info.patch_grid.patch_size**2 * pixel_bytes)
    return min(max(fitting, LEAST_SHUFFLED), SHUFFLED_RECORDS)


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
    """Patches with classes that fewer than this share of the patches have are repeated, see
    `sampling.repeat_factors`; 0 shows every patch once."""

    @cached_property
    def cuts(self) -> tuple[int, np.ndarray]:
        """Patch height and width in pixels, and where in a record each patch begins, as
        `cut_origins` gives them."""
        return cut_origins(self.info.patch_grid, self.patch_size, self.patch_overlap)

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
        start_step: Batch of that epoch to begin with; records before it are read, not decoded.
    """
    info, factors, (size, origins) = plan.info, plan.factors, plan.cuts
    rare = rare_classes(info)
    held = shuffled_records(info) * len(origins)

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        dataset = _shuffled_records(plan, _key(seed, epoch, 0))
        if factors is not None or len(origins) > 1:
            offset = tf.random.stateless_uniform([], _key(seed, epoch, 1), dtype=tf.float64)
            times = times_seen(np.ones(1) if factors is None else factors, offset)
            dataset = dataset.flat_map(_copies(times, len(origins)))
        # Serialised records are half the size of decoded ones, and shuffling within the epoch
        # shows every patch before any is shown again.
        # The cuts of a record follow each other: a buffer of as many cuts as records would hold
        # few records, and batches of few records make noisy steps.
        dataset = dataset.shuffle(held, seed=_key(seed, epoch, 2)[0])
        if plan.patches < plan.batch_size:
            dataset = dataset.repeat()
        dataset = dataset.batch(plan.batch_size, drop_remainder=True).take(plan.steps)
        return dataset.enumerate().map(lambda step, batch: (epoch, step, *batch))

    def finish(
        epoch: tf.Tensor, step: tf.Tensor, _: tf.Tensor, serialized: tf.Tensor, cut: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        image, label, usable = decode_batch(serialized, _places(origins, cut), size, info)
        batch_key = tf.random.fold_in(_key(seed, epoch, 3), step)
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
    # Skipping serialised batches costs reading, not decoding.
    dataset = dataset.skip(start_step).map(finish, num_parallel_calls=tf.data.AUTOTUNE)
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
    records = _records(info, folder, split, only)
    dataset = records.map(lambda record: (tf.constant(0, tf.int64), record, tf.constant(0)))
    if len(origins) > 1:
        dataset = dataset.flat_map(_copies(tf.ones(1, tf.int64), len(origins)))
    parts = 3 if with_usable else 2

    def decoded(_: tf.Tensor, serialized: tf.Tensor, cut: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return decode_batch(serialized, _places(origins, cut), size, info)[:parts]

    def decoded_alone(
        number: tf.Tensor, record: tf.Tensor, cut: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return tuple(part[0] for part in decoded(number, record[None], cut[None]))

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
    """Returns (number in the split, serialised record, cut 0), shards interleaved at random."""
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

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .interleave(
            records_of,
            cycle_length=min(8, len(paths)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .map(lambda number, record: (number, record, tf.constant(0)))
    )


def _copies(times: tf.Tensor, cuts: int):
    """Returns a function of one record that gives its copies, each with the number of its cut.

    The copies share one buffer, so a repeated record takes no more memory in the shuffle.
    """

    def copies(number: tf.Tensor, record: tf.Tensor, _: tf.Tensor) -> tf.data.Dataset:
        place = tf.minimum(number, tf.size(times, tf.int64) - 1)
        total = tf.gather(times, place) * cuts
        return tf.data.Dataset.range(total).map(
            lambda i: (number, record, tf.cast(i % cuts, tf.int32))
        )

    return copies


def _places(origins: np.ndarray, cut: tf.Tensor) -> tf.Tensor | None:
    whole = len(origins) == 1
    return None if whole else tf.gather(tf.constant(origins), cut)


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
