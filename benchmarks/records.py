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
is the median of several rounds, and what is compared takes turns. Beside the rate stands the
processor time of a patch, all threads and processes together, which other work on the machine
disturbs far less.
"""

import argparse
import gzip
import io
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
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
    zipped, zipped_bytes = gzip_rows(folder, one)
    return {
        "rows": rows + zipped,
        "fixed_seconds": fixed,
        "patches": sum(split.records for split in info.splits.values()),
        "bytes_per_patch": {"none": _bytes_per_patch(info), "gzip": zipped_bytes},
    }


def writing_rows(
    folder: Path, scenes: Path, small: Path, rounds: int
) -> tuple[Any, list[dict[str, Any]], dict[str, float]]:
    """Returns the last dataset's description, rows, and fixed seconds by number of processes."""
    from landcover_tf.dataset_info import DatasetInfo

    dataset = folder / "dataset"
    spent: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    memory, cut = [], []
    build(small, folder / "warm", 1)
    for round_number in range(rounds):
        for jobs in (1, 2):
            tiny = folder / f"small-{round_number}-{jobs}"
            spent["small", jobs].append(timed(lambda d=tiny, j=jobs: build(small, d, j)))
            shutil.rmtree(dataset, ignore_errors=True)
            spent["large", jobs].append(timed(lambda j=jobs: build(scenes, dataset, j)))
        info = DatasetInfo.load(dataset)
        payload = payloads(info, dataset, "val")
        memory.append(timed(lambda p=payload: write_files(folder / "plain", p), len(payload)))
        cut.append(cut_plain(scenes, folder / "cut", info.patch_grid))
    count = sum(split.records for split in info.splits.values())
    fixed = {jobs: median(spent["small", jobs]) for jobs in (1, 2)}
    whole = {jobs: [cost / count for cost in spent["large", jobs]] for jobs in (1, 2)}
    net = {jobs: [(c - fixed[jobs]) / count for c in spent["large", jobs]] for jobs in (1, 2)}
    rows = [
        row("write plain files from memory", memory),
        row("cut plain files from the scenes", cut),
        row("build, 1 process, vs from memory", net[1], 0.5, memory),
        row("build, 1 process, vs cut from scenes", net[1], 0.5, cut),
        row("build, 2 processes, vs 1 process", net[2], 1.5, net[1]),
        row("build, 1 process, with fixed costs", whole[1]),
        row("build, 2 processes, with fixed costs", whole[2]),
    ]
    return info, rows, {f"{jobs} processes": fixed[jobs].wall_s for jobs in (1, 2)}


def reading_rows(info: Any, dataset: Path, plain: Path, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of reading and training."""
    spent: dict[str, list[Cost]] = defaultdict(list)
    evaluate, train = evaluation_reader(info, dataset), training_reader(info, dataset)
    for _ in range(rounds):
        spent["bytes"].append(read_plain(plain))
        spent["decoded"].append(read_decoded(plain, info))
        spent["evaluation"].append(evaluate())
        spent["training"].append(train())
    network = network_steps(info)
    return [
        row("read plain files as bytes, 1 thread", spent["bytes"]),
        row("read plain files and decode, 1 thread", spent["decoded"]),
        row("evaluation pipeline, vs bytes", spent["evaluation"], 0.5, spent["bytes"]),
        row("evaluation pipeline, vs decoded", spent["evaluation"], 0.5, spent["decoded"]),
        row("ResNet-50 U-Net training step", network),
        row("training pipeline, vs training step", spent["training"], 4.0, network),
    ]


def gzip_rows(folder: Path, scene: Path, rounds: int = 3) -> tuple[list[dict[str, Any]], float]:
    """Returns what gzip costs on one scene, beside files compressed alike, and bytes per patch."""
    from landcover_tf.dataset_info import DatasetInfo

    dataset, plain = folder / "gzip", folder / "plain-gzip"
    spent: dict[str, list[Cost]] = defaultdict(list)
    for number in range(rounds):
        shutil.rmtree(dataset, ignore_errors=True)
        whole = timed(lambda: build(scene, dataset, 1, "gzip"))
        info = DatasetInfo.load(dataset)
        spent["build"].append(whole / sum(split.records for split in info.splits.values()))
        payload = payloads(info, dataset, "train")[:48]
        packed = (gzip.compress(one, 6) for one in payload)
        spent["write"].append(timed(lambda p=packed: write_files(plain, p), len(payload)))
        if not number:
            evaluate = evaluation_reader(info, dataset)
        spent["read"].append(read_plain(plain, gzip.decompress))
        spent["evaluation"].append(evaluate())
    return [
        row("gzip: write plain files from memory", spent["write"]),
        row("gzip: build, 1 process, fixed costs in", spent["build"], 0.5, spent["write"]),
        row("gzip: read plain files, 1 thread", spent["read"]),
        row("gzip: evaluation pipeline", spent["evaluation"], 0.5, spent["read"]),
    ], _bytes_per_patch(info)


def row(
    name: str, costs: list[Cost], aim: float | None = None, against: list[Cost] | None = None
) -> dict[str, Any]:
    """Returns a row; `aim` is the least ratio of its rate to that of `against`."""
    middle = median(costs)
    other = None if against is None else median(against)
    return {
        "what": name,
        "patches_per_s": 1 / middle.wall_s,
        "cpu_ms": 1e3 * middle.cpu_s,
        "rounds": [1 / cost.wall_s for cost in costs],
        "ratio": None if other is None else other.wall_s / middle.wall_s,
        "cpu_ratio": None if other is None else other.cpu_s / middle.cpu_s,
        "aim": aim,
    }


def median(costs: list[Cost]) -> Cost:
    """Returns the median of both figures."""
    return Cost(
        wall_s=statistics.median(cost.wall_s for cost in costs),
        cpu_s=statistics.median(cost.cpu_s for cost in costs),
    )


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints the rows with their ratio to what they are compared with."""
    print(f"{'':42} {'patches/s':>10} {'ratio':>7} {'aim':>6} {'CPU ms':>8} {'ratio':>7}")
    for one in rows:
        ratio, cpu_ratio = (
            "" if one[name] is None else f"{one[name]:.2f}" for name in ("ratio", "cpu_ratio")
        )
        aim = "" if one["aim"] is None else f">={one['aim']:g}"
        print(
            f"{one['what']:42} {one['patches_per_s']:10.1f} {ratio:>7} {aim:>6} "
            f"{one['cpu_ms']:8.2f} {cpu_ratio:>7}"
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
    from landcover_tf.input_pipeline.augment import preset
    from landcover_tf.input_pipeline.dataset import training_dataset

    iterator = iter(
        training_dataset(info, dataset, batch_size=BATCH, seed=0, augmentation=preset("standard"))
    )
    for _ in range(12):  # Tracing, and what was prefetched while nobody waited.
        next(iterator)

    def read() -> Cost:
        # One batch after another is let go: all of them together would not fit into the cache.
        return timed(lambda: deque(islice(iterator, 24), maxlen=0), 24 * BATCH)

    return read


def network_steps(info: Any, steps: int = 5) -> list[Cost]:
    """Returns what single training steps of the ResNet-50 U-Net cost, after the first two."""
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
    spent = [
        timed(lambda: model.train_on_batch(image, label), TRAIN_BATCH) for _ in range(steps + 2)
    ]
    return spent[2:]


def _bytes_per_patch(info: Any) -> float:
    shards = [shard for split in info.splits.values() for shard in split.shards]
    return sum(shard.bytes for shard in shards) / sum(shard.records for shard in shards)


if __name__ == "__main__":
    main()
