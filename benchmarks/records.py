"""How fast are records written and read, against plain files with the same bytes?

    python -m benchmarks.records

Simulates and prepares two scenes, then measures in patches per second: writing the patches as
plain files, building the shards with one and with two processes, reading the plain files, the
evaluation pipeline, the training pipeline with the default augmentation, and training steps of
the ResNet-50 U-Net on this machine's processor. Reading is from the page cache on both sides.
Every figure is the median of several rounds, and pairs that are compared take turns.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANDCOVER_PROGRESS", "0")

import numpy as np

from landcover_tf.files import write_json
from landcover_tf.provenance import hardware, software_versions

BATCH = 8
TRAIN_BATCH = 4


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--compression", choices=("none", "gzip"), default="none")
    parser.add_argument("--size-px", type=int, default=2196, help="size of the simulated scenes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scenes", type=Path, help="prepared scenes to use instead")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/records.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments)
    print_table(rows)
    write_json(
        arguments.output,
        {
            "rows": rows,
            "compression": arguments.compression,
            "rounds": arguments.rounds,
            "hardware": hardware(),
            "software": software_versions(),
        },
    )


def measure(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    from landcover_tf.dataset_info import DatasetInfo

    scenes = arguments.scenes or simulated_scenes(folder, arguments.size_px)
    build_rates: dict[int, list[float]] = {1: [], 2: []}
    plain_write, dataset = [], folder / "dataset"
    for round_number in range(max(arguments.rounds // 2, 1)):
        for jobs in (1, 2):
            dataset = folder / f"dataset-{round_number}-{jobs}"
            seconds = timed(lambda d=dataset, j=jobs: build(scenes, d, j, arguments.compression))
            info = DatasetInfo.load(dataset)
            build_rates[jobs].append(sum(s.records for s in info.splits.values()) / seconds)
        plain_write.append(write_plain(info, dataset, folder / "plain", arguments.compression))
    rows = [
        row("write plain files, 1 process", plain_write, 1.0),
        row("build, 1 process", build_rates[1], 0.5, statistics.median(plain_write)),
        row("build, 2 processes", build_rates[2], 1.5, statistics.median(build_rates[1])),
    ]
    reading: dict[str, list[float]] = {"plain": [], "evaluation": [], "training": []}
    evaluate, train = evaluation_reader(info, dataset), training_reader(info, dataset)
    for _ in range(arguments.rounds):
        reading["plain"].append(read_plain(folder / "plain", arguments.compression))
        reading["evaluation"].append(evaluate())
        reading["training"].append(train())
    network = network_rates(info)
    plain, step = statistics.median(reading["plain"]), statistics.median(network)
    return [
        *rows,
        row("read plain files, 1 thread", reading["plain"], 1.0),
        row("evaluation pipeline", reading["evaluation"], 0.5, plain),
        row("ResNet-50 U-Net training step", network, 1.0),
        row("training pipeline, standard augmentation", reading["training"], 4.0, step),
    ]


def row(name: str, rates: list[float], aim: float, against: float | None = None) -> dict[str, Any]:
    """Returns a row; `aim` is the least ratio to the rate `against`."""
    rate = statistics.median(rates)
    ratio = None if against is None else rate / against
    return {
        "what": name,
        "patches_per_s": rate,
        "rounds": rates,
        "ratio": ratio,
        "aim": None if ratio is None else aim,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints the rows with their ratio to what they are compared with."""
    print(f"{'':42} {'patches/s':>10} {'ratio':>7} {'aim':>6}")
    for one in rows:
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
        aim = "" if one["aim"] is None else f">={one['aim']:g}"
        print(f"{one['what']:42} {one['patches_per_s']:10.1f} {ratio:>7} {aim:>6}")


def timed(work: Callable[[], object]) -> float:
    """Returns the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def simulated_scenes(folder: Path, size_px: int) -> Path:
    """Returns a folder with two prepared scenes of a simulated landscape."""
    from landcover_tf import prepare, simulate

    simulated = ["--output-dir", str(folder / "simulated"), "--products", "2"]
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


def build(scenes: Path, output: Path, jobs: int, compression: str) -> None:
    """Builds the shards of all scenes."""
    from tfrecords_builder.__main__ import main as builder

    arguments = [
        "--data-dir", str(scenes), "--output-dir", str(output), "--jobs", str(jobs),
        "--compression", compression, "--block-size-m", "2560", "--gap-px", "0",
    ]  # fmt: skip
    if builder(arguments):
        raise SystemExit("the build failed")


def write_plain(info: Any, dataset: Path, folder: Path, compression: str) -> float:
    """Writes image, label and validity of the training patches as files; returns patches/s."""
    payload = [record for record in _payloads(info, dataset)]
    folder.mkdir(exist_ok=True)

    def write() -> None:
        for number, data in enumerate(payload):
            (folder / f"{number}.bin").write_bytes(_compress(data, compression))

    return len(payload) / timed(write)


def read_plain(folder: Path, compression: str) -> float:
    """Reads the files of `write_plain` into arrays; returns patches/s."""
    files = sorted(folder.glob("*.bin"))

    def read() -> None:
        for file in files:
            data = file.read_bytes()
            np.frombuffer(gzip.decompress(data) if compression == "gzip" else data, np.uint8)

    return len(files) / timed(read)


def evaluation_reader(info: Any, dataset: Path) -> Callable[[], float]:
    """Returns a function that runs through the training split and gives patches/s."""
    from landcover_tf.input_pipeline.dataset import evaluation_dataset

    batches = evaluation_dataset(info, dataset, "train", batch_size=BATCH)

    def read() -> float:
        iterator = iter(batches)
        next(iterator)  # Starting the threads is not the throughput.
        start, patches = time.perf_counter(), 0
        for image, _ in iterator:
            patches += len(image)
        return patches / (time.perf_counter() - start)

    return read


def training_reader(info: Any, dataset: Path) -> Callable[[], float]:
    """Returns a function that takes some augmented batches and gives patches/s."""
    from landcover_tf.input_pipeline.augment import preset
    from landcover_tf.input_pipeline.dataset import training_dataset

    iterator = iter(
        training_dataset(info, dataset, batch_size=BATCH, seed=0, augmentation=preset("standard"))
    )
    for _ in range(12):  # Tracing, and what was prefetched while nobody waited.
        next(iterator)

    def read() -> float:
        count = 24
        return count * BATCH / timed(lambda: list(islice(iterator, count)))

    return read


def network_rates(info: Any, steps: int = 5) -> list[float]:
    """Returns patches/s of single training steps of the ResNet-50 U-Net after the first two."""
    import keras

    from landcover_tf.model_info import ModelSpec
    from landcover_tf.models.unet import build_unet

    model = build_unet(
        ModelSpec(
            encoder="resnet50",
            band_names=info.band_names,
            class_codes=info.legend.codes,
            normalizer=info.normalizer,
        )
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(optimizer="adamw", loss=loss, jit_compile=False)
    rng = np.random.default_rng(0)
    size = info.patch_grid.patch_size
    image = rng.random((TRAIN_BATCH, size, size, len(info.bands)), np.float32)
    label = rng.integers(0, len(info.legend.classes), (TRAIN_BATCH, size, size)).astype(np.uint8)
    seconds = [timed(lambda: model.train_on_batch(image, label)) for _ in range(steps + 2)]
    return [TRAIN_BATCH / s for s in seconds[2:]]


def _payloads(info: Any, dataset: Path) -> list[bytes]:
    import tensorflow as tf

    from landcover_tf.records import compression_type, decode

    paths = [str(path) for path in info.shard_paths(dataset, "train")]
    serialized = tf.data.TFRecordDataset(paths, compression_type(info.compression))
    patches = (decode(record) for record in serialized.as_numpy_iterator())
    return [p.image.tobytes() + p.label.tobytes() + p.validity.tobytes() for p in patches]


def _compress(data: bytes, compression: str) -> bytes:
    # Level 6 is TFRecord's own.
    return gzip.compress(data, compresslevel=6) if compression == "gzip" else data


if __name__ == "__main__":
    main()
