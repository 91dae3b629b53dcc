"""The pieces of work that `benchmarks.records` times."""

import io
import os
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANDCOVER_PROGRESS", "0")

import numpy as np

from benchmarks.train_step import make_stepper, random_batch

BATCH = 8
TRAIN_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time for a patch, or for a whole piece of work."""

    wall_s: float
    cpu_s: float
    """Of all threads and of the processes that have ended."""

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(wall_s=self.wall_s - other.wall_s, cpu_s=self.cpu_s - other.cpu_s)

    def __truediv__(self, count: int) -> "Cost":
        return Cost(wall_s=self.wall_s / count, cpu_s=self.cpu_s / count)


def median(costs: list[Cost]) -> Cost:
    """Returns the median of both figures."""
    return Cost(
        wall_s=statistics.median(cost.wall_s for cost in costs),
        cpu_s=statistics.median(cost.cpu_s for cost in costs),
    )


def timed(work: Callable[[], object], count: int = 1) -> Cost:
    """Returns what each of the `count` patches cost that `work` goes through."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    work()
    return Cost(wall_s=time.perf_counter() - wall, cpu_s=sum(os.times()[:4]) - cpu) / count


def simulated_scenes(folder: Path, products: int, size_px: int) -> Path:
    """Returns a folder with prepared scenes of a simulated landscape."""
    from landcover_tf import prepare, simulate

    simulated = ["--output-dir", str(folder / "simulated"), "--products", str(products)]
    if simulate.main([*simulated, "--size-px", str(size_px)]):
        raise SystemExit("the simulation failed")
    arguments = [
        "--sentinel2-dir", str(folder / "simulated" / "products"),
        "--ground-truth", str(folder / "simulated" / "ground_truth"),
        "--output-dir", str(folder / "scenes"),
    ]  # fmt: skip
    if prepare.main(arguments):
        raise SystemExit("the preparation failed")
    return folder / "scenes"


def build(scenes: Path, output: Path, jobs: int, compression: str = "none") -> None:
    """Builds the shards of all scenes."""
    from tfrecords_builder.__main__ import main as builder

    arguments = [
        "--data-dir", str(scenes), "--output-dir", str(output), "--jobs", str(jobs),
        "--compression", compression, "--block-size-m", "2560", "--gap-px", "0",
    ]  # fmt: skip
    with redirect_stdout(io.StringIO()):
        if builder(arguments):
            raise SystemExit("the build failed")


def payloads(info: Any, dataset: Path, split: str) -> list[bytes]:
    """Returns image, label and validity of each patch of a split, as a plain file holds them."""
    from tfrecords_builder.reading import stored_patches

    return [
        stored.patch.image.tobytes()
        + stored.patch.label.tobytes()
        + stored.patch.validity.tobytes()
        for stored in stored_patches(dataset, info, (split,))
    ]


def write_files(folder: Path, payload: Iterable[bytes]) -> None:
    """Writes one new file for each patch."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, data in enumerate(payload):
        (folder / f"{number}.bin").write_bytes(data)


def cut_plain(scenes: Path, folder: Path, grid: Any) -> Cost:
    """Cuts every patch inside the scenes into a plain file."""
    import rasterio

    from landcover_tf.sentinel2.prepared import IMAGE, LABELS, VALIDITY

    size = grid.patch_size

    def patches() -> Iterator[bytes]:
        for path in sorted(p for p in scenes.iterdir() if p.is_dir()):
            rasters = []
            for name in (IMAGE, LABELS, VALIDITY):
                with rasterio.open(path / name) as raster:
                    rasters.append(np.moveaxis(raster.read(), 0, -1))
            height, width = rasters[0].shape[:2]
            for row in range(0, height - size + 1, grid.stride):
                for col in range(0, width - size + 1, grid.stride):
                    part = slice(row, row + size), slice(col, col + size)
                    yield b"".join(raster[part].tobytes() for raster in rasters)

    spent = timed(lambda: write_files(folder, patches()))
    count = len(list(folder.iterdir()))
    shutil.rmtree(folder)
    return spent / count


def read_plain(folder: Path, unpack: Callable[[bytes], bytes] = bytes) -> Cost:
    """Reads plain files as bytes."""
    files = sorted(folder.glob("*.bin"))
    return timed(lambda: [len(unpack(file.read_bytes())) for file in files], len(files))


def read_decoded(folder: Path, info: Any) -> Cost:
    """Reads plain files into batches of reflectance with NumPy."""
    files = sorted(folder.glob("*.bin"))
    size = info.patch_grid.patch_size
    # Whole rows at once: arithmetic along 13 bands is not vectorised.
    scale = np.tile(np.array(info.scale, np.float32), size)
    offset = np.tile(np.array(info.offset, np.float32), size)

    def read() -> None:
        batch = np.empty((BATCH, size, len(scale)), np.float32)
        for number, file in enumerate(files):
            stored = np.frombuffer(file.read_bytes(), info.dtype, size * len(scale))
            np.multiply(stored.reshape(size, -1), scale, out=batch[number % BATCH])
            batch[number % BATCH] += offset

    return timed(read, len(files))


def evaluation_reader(info: Any, dataset: Path) -> Callable[[], Cost]:
    """Returns a function that runs through the training split."""
    from landcover_tf.input_pipeline.dataset import evaluation_dataset

    batches = evaluation_dataset(info, dataset, "train", batch_size=BATCH)

    def read() -> Cost:
        iterator = iter(batches)
        next(iterator)  # Starting the threads is not the throughput.
        sizes: list[int] = []
        spent = timed(lambda: sizes.extend(len(image) for image, _ in iterator))
        return spent / sum(sizes)

    return read


def training_reader(info: Any, dataset: Path) -> Callable[[], Cost]:
    """Returns a function that takes some augmented batches."""
    from landcover_tf.input_pipeline.augmentation_settings import PRESETS
    from landcover_tf.input_pipeline.dataset import EpochPlan, training_dataset

    plan = EpochPlan(info=info, folder=dataset, batch_size=BATCH)
    iterator = iter(training_dataset(plan, seed=0, augmentation=PRESETS["standard"]))
    for _ in range(12):  # Tracing, and what was prefetched while nobody waited.
        next(iterator)

    def read() -> Cost:
        # One batch after another is let go: all of them together would not fit into the cache.
        return timed(lambda: deque(islice(iterator, 24), maxlen=0), 24 * BATCH)

    return read


def network_steps(info: Any, steps: int = 5) -> list[Cost]:
    """Returns what single training steps of the ResNet-50 U-Net cost, after the first two.

    They are `train`'s own steps with the settings that it chooses for this machine.
    """
    from landcover_tf.training.precision import choose_jit, choose_precision

    stepper = make_stepper(choose_precision("auto"), choose_jit("auto"), "resnet50")
    batch = random_batch(TRAIN_BATCH, info.patch_grid.patch_size)
    spent = [
        timed(lambda: float(stepper.train([batch], 0.0)[0]), TRAIN_BATCH) for _ in range(steps + 2)
    ]
    return spent[2:]
