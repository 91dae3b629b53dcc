"""How fast are records written and read, against plain files with the same bytes?

    python -m benchmarks.records

Simulates and prepares scenes, then measures in patches per second:

- writing the patches as plain files: from memory, and cut from the same prepared scenes (each
  read whole, which is the fastest way);
- building the shards with one and with two processes. The fixed costs of a build (processes,
  plan, dataset card) are measured on a single small scene and taken off; the rate with them is
  in the table as well;
- reading the plain files as bytes, reading and decoding them with NumPy, the evaluation pipeline,
  the training pipeline with the default augmentation, and training steps of the ResNet-50 U-Net
  on this machine's processor;
- building and reading with gzip, on one scene, and its size.

Everything is written to and read from the page cache, on both sides of a comparison. Every figure
is the median of several rounds, and what is compared takes turns.
"""

import argparse
import gzip
import io
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
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
SMALL_PX = 420
"""Side of the scene that shows the fixed costs of a build: nine patches."""


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size-px", type=int, default=2196, help="size of the simulated scenes")
    parser.add_argument("--products", type=int, default=2, help="number of simulated scenes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scenes", type=Path, help="prepared scenes to use instead")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/records.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), arguments)
    print_table(report["rows"])
    write_json(
        arguments.output,
        {
            **report,
            "rounds": arguments.rounds,
            "hardware": hardware(),
            "software": software_versions(),
        },
    )


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the rows of the table and what they were measured on."""
    scenes = arguments.scenes or simulated_scenes(
        folder / "large", arguments.products, arguments.size_px
    )
    small = simulated_scenes(folder / "small", 1, SMALL_PX)
    info, rows, fixed = writing_rows(folder, scenes, small, arguments.rounds)
    rows += reading_rows(info, folder / "dataset", folder / "plain", arguments.rounds)
    one = folder / "one"
    one.mkdir()
    first = min(path for path in scenes.iterdir() if path.is_dir())
    (one / first.name).symlink_to(first.resolve())
    rows += gzip_rows(folder, one)
    return {
        "rows": rows,
        "fixed_seconds": fixed,
        "patches": sum(split.records for split in info.splits.values()),
        "bytes_per_patch": _bytes_per_patch(info),
    }


def writing_rows(
    folder: Path, scenes: Path, small: Path, rounds: int
) -> tuple[Any, list[dict[str, Any]], dict[str, float]]:
    """Returns the last dataset's description, rows, and fixed seconds by number of processes."""
    from landcover_tf.dataset_info import DatasetInfo

    dataset = folder / "dataset"
    seconds: dict[str, list[float]] = defaultdict(list)
    memory, cut = [], []
    build(small, folder / "warm", 1)
    for round_number in range(rounds):
        for jobs in (1, 2):
            tiny = folder / f"small-{round_number}-{jobs}"
            seconds[f"small {jobs}"].append(timed(lambda d=tiny, j=jobs: build(small, d, j)))
            shutil.rmtree(dataset, ignore_errors=True)
            seconds[f"large {jobs}"].append(timed(lambda j=jobs: build(scenes, dataset, j)))
        info = DatasetInfo.load(dataset)
        payload = payloads(info, dataset, "val")
        memory.append(len(payload) / timed(lambda p=payload: write_files(folder / "plain", p)))
        cut.append(cut_plain(scenes, folder / "cut", info.patch_grid))
    count = sum(split.records for split in info.splits.values())
    fixed = {jobs: statistics.median(seconds[f"small {jobs}"]) for jobs in (1, 2)}
    whole = {jobs: [count / s for s in seconds[f"large {jobs}"]] for jobs in (1, 2)}
    rates = {jobs: [count / (s - fixed[jobs]) for s in seconds[f"large {jobs}"]] for jobs in (1, 2)}
    plain, beside = statistics.median(memory), statistics.median(cut)
    rows = [
        row("write plain files from memory", memory),
        row("cut plain files from the scenes", cut),
        row("build, 1 process, vs from memory", rates[1], 0.5, plain),
        row("build, 1 process, vs cut from scenes", rates[1], 0.5, beside),
        row("build, 2 processes, vs 1 process", rates[2], 1.5, statistics.median(rates[1])),
        row("build, 1 process, with fixed costs", whole[1]),
        row("build, 2 processes, with fixed costs", whole[2]),
    ]
    return info, rows, {f"{jobs} processes": fixed[jobs] for jobs in (1, 2)}


def reading_rows(info: Any, dataset: Path, plain: Path, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of reading and training."""
    rates: dict[str, list[float]] = defaultdict(list)
    evaluate, train = evaluation_reader(info, dataset), training_reader(info, dataset)
    for _ in range(rounds):
        rates["bytes"].append(read_plain(plain))
        rates["decoded"].append(read_decoded(plain, info))
        rates["evaluation"].append(evaluate())
        rates["training"].append(train())
    network = network_rates(info)
    as_bytes, decoded = (statistics.median(rates[name]) for name in ("bytes", "decoded"))
    return [
        row("read plain files as bytes, 1 thread", rates["bytes"]),
        row("read plain files and decode, 1 thread", rates["decoded"]),
        row("evaluation pipeline, vs bytes", rates["evaluation"], 0.5, as_bytes),
        row("evaluation pipeline, vs decoded", rates["evaluation"], 0.5, decoded),
        row("ResNet-50 U-Net training step", network),
        row(
            "training pipeline, vs training step",
            rates["training"],
            4.0,
            statistics.median(network),
        ),
    ]


def gzip_rows(folder: Path, scene: Path, rounds: int = 3) -> list[dict[str, Any]]:
    """Returns what gzip costs, on one scene; plain files are compressed alike."""
    from landcover_tf.dataset_info import DatasetInfo

    dataset, plain = folder / "gzip", folder / "plain-gzip"
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        shutil.rmtree(dataset, ignore_errors=True)
        seconds = timed(lambda: build(scene, dataset, 1, "gzip"))
        info = DatasetInfo.load(dataset)
        records = sum(split.records for split in info.splits.values())
        rates["build"].append(records / seconds)
        payload = payloads(info, dataset, "train")[:48]
        packed = timed(lambda p=payload: write_files(plain, (gzip.compress(one, 6) for one in p)))
        rates["write"].append(len(payload) / packed)
        if not number:
            evaluate = evaluation_reader(info, dataset)
        rates["read"].append(read_plain(plain, gzip.decompress))
        rates["evaluation"].append(evaluate())
    write, read = (statistics.median(rates[name]) for name in ("write", "read"))
    packed_size = _bytes_per_patch(info)
    return [
        row("gzip: write plain files from memory", rates["write"]),
        row("gzip: build, 1 process, fixed costs in", rates["build"], 0.5, write),
        row("gzip: read plain files, 1 thread", rates["read"]),
        row("gzip: evaluation pipeline", rates["evaluation"], 0.5, read),
        row("gzip: bytes per patch / 1e6", [packed_size / 1e6]),
    ]


def row(
    name: str, rates: list[float], aim: float | None = None, against: float | None = None
) -> dict[str, Any]:
    """Returns a row; `aim` is the least ratio to the rate `against`."""
    rate = statistics.median(rates)
    return {
        "what": name,
        "patches_per_s": rate,
        "rounds": rates,
        "ratio": None if against is None else rate / against,
        "aim": aim,
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


def cut_plain(scenes: Path, folder: Path, grid: Any) -> float:
    """Cuts every patch inside the scenes into a plain file; returns patches/s."""
    from landcover_tf.grid import Window
    from landcover_tf.sentinel2.prepared import PreparedScene

    size = grid.patch_size

    def patches() -> Iterator[bytes]:
        for path in sorted(p for p in scenes.iterdir() if p.is_dir()):
            scene = PreparedScene.open(path)
            window = Window(row_off=0, col_off=0, height=scene.height, width=scene.width)
            rasters = [
                scene.read_image(window), scene.read_labels(window), scene.read_validity(window)
            ]  # fmt: skip
            for row in range(0, scene.height - size + 1, grid.stride):
                for col in range(0, scene.width - size + 1, grid.stride):
                    part = slice(row, row + size), slice(col, col + size)
                    yield b"".join(raster[part].tobytes() for raster in rasters)

    seconds = timed(lambda: write_files(folder, patches()))
    count = len(list(folder.iterdir()))
    shutil.rmtree(folder)
    return count / seconds


def read_plain(folder: Path, unpack: Callable[[bytes], bytes] = bytes) -> float:
    """Reads plain files as bytes; returns patches/s."""
    files = sorted(folder.glob("*.bin"))
    seconds = timed(lambda: [len(unpack(file.read_bytes())) for file in files])
    return len(files) / seconds


def read_decoded(folder: Path, info: Any) -> float:
    """Reads plain files into batches of reflectance with NumPy; returns patches/s."""
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


def _bytes_per_patch(info: Any) -> float:
    shards = [shard for split in info.splits.values() for shard in split.shards]
    return sum(shard.bytes for shard in shards) / sum(shard.records for shard in shards)


if __name__ == "__main__":
    main()
