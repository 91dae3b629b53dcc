"""The input of `benchmarks.train_step`: the training's own pipeline, and how long a step waits."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHARDS = 4


def write_random_dataset(folder: Path, *, patches: int, patch_size: int) -> None:
    """Writes shards of random patches of 13 bands, of the shape and size that real ones have."""
    from landcover_tf.bands import BAND_NAMES
    from landcover_tf.datasets.band_statistics import BandStatistics
    from landcover_tf.datasets.dataset_info import BandInfo, DatasetInfo
    from landcover_tf.datasets.dataset_shards import ShardInfo, SplitInfo
    from landcover_tf.datasets.normalizer import Normalizer
    from landcover_tf.datasets.records import Patch, encode
    from landcover_tf.datasets.tfrecord import frame, write_framed
    from landcover_tf.grid import PatchGrid, Window
    from landcover_tf.legend import load_legend
    from landcover_tf.system.files import sha256_of

    legend, count = load_legend("landcover9"), len(BAND_NAMES)
    rng = np.random.default_rng(0)

    def patch(number: int) -> bytes:
        shape = (patch_size, patch_size)
        return encode(
            Patch(
                image=rng.integers(1000, 5000, (*shape, count), np.uint16),
                label=rng.choice(np.array(legend.codes, np.uint8), shape),
                validity=np.zeros(shape, np.uint8),
                key=f"patch-{number}",
                product="random",
                window=Window(
                    row_off=0, col_off=number * patch_size, height=patch_size, width=patch_size
                ),
                crs="EPSG:32634",
                transform=(10.0, 0.0, 600_000.0, 0.0, -10.0, 4_200_000.0),
                band_names=BAND_NAMES,
            )
        )

    shards = []
    for number, part in enumerate(np.array_split(np.arange(patches), SHARDS)):
        path = folder / f"train-{number:05d}-of-{SHARDS:05d}.tfrecord"
        framed = (b"".join(frame([patch(one)])) for one in part.tolist())
        written = write_framed(path, framed, compression="none")
        shards.append(
            ShardInfo(
                file=path.name,
                records=written.records,
                bytes=written.bytes,
                sha256=sha256_of(path),
            )
        )
    pixels = patches * patch_size**2 // len(legend.codes)
    statistics = BandStatistics.empty(BAND_NAMES)
    scale, offset = [1e-4] * count, [-0.1] * count
    DatasetInfo(
        name="random",
        bands=tuple(BandInfo(name=name, scale=1e-4, offset=-0.1) for name in BAND_NAMES),
        dtype="uint16",
        nodata=0,
        legend=legend,
        patch_grid=PatchGrid(patch_size=patch_size, patch_overlap=0),
        resolution_m=10.0,
        invalid_bits=1,
        statistics=statistics,
        normalizer=Normalizer.fit("reflectance", statistics, scale, offset),
        splits={
            "train": SplitInfo(
                shards=tuple(shards), class_pixels={code: pixels for code in legend.codes}
            )
        },
        products=(),
    ).save(folder)


def training_batches(dataset: Path, *, batch_size: int, patch_size: int) -> Iterator[list[Any]]:
    """Returns the batches of a training on this dataset, with the default augmentation."""
    from landcover_tf.datasets.dataset_info import DatasetInfo
    from landcover_tf.training.batches import Batches
    from landcover_tf.training.config import TrainConfig
    from landcover_tf.training.distributed import choose_devices

    config = TrainConfig(
        data_dir=dataset,
        output_dir=dataset / "run",
        batch_size=batch_size,
        patch_size=patch_size,
        patch_overlap=0,
    )
    batches = Batches(config, DatasetInfo.load(dataset), choose_devices("single"))
    return batches.training(0, 0)


def input_waits(
    stepper: Any, batches: Iterator[list[Any]], *, steps: int, warm_up: int
) -> dict[str, float]:
    """Returns what steps take that get their batches from the pipeline, and how long they wait.

    The pipeline works while the network does. What a step waits for is what it is not fast enough
    for: near 0 the network bounds the training, near 1 the input.
    """
    waited, took = [], []
    for _ in range(warm_up + steps):
        started = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - started)
        loss, _ = stepper.train(batch, 0.0)
        float(loss)  # Waits for the device.
        took.append(time.perf_counter() - started)
    # Totals, not medians: a pipeline that falls behind makes some steps wait for long.
    wait_s, step_s = sum(waited[warm_up:]) / steps, sum(took[warm_up:]) / steps
    return {
        "pipeline_step_s": step_s,
        "input_wait_s": wait_s,
        "input_bound_fraction": wait_s / step_s,
    }
