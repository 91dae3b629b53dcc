"""How fast are records written and read, against plain files with the same bytes?

    python -m benchmarks.records            # measures and writes --output
    python -m benchmarks.records --tables   # prints the tables of docs/records.md from that file

Simulates and prepares scenes, then measures in patches per second:

- writing the patches as plain files: from memory, and cut from the same prepared scenes (each
  read whole, which is the fastest way);
- building the shards with one and with two processes. The fixed costs of a build (processes,
  plan, dataset card) are measured on a single small scene and taken off; the rate with them is
  in the table as well;
- reading the plain files as bytes, reading and decoding them with NumPy, the evaluation pipeline,
  `train`'s own steps of the ResNet-50 U-Net on this machine's processor, and the training pipeline
  with the default augmentation;
- building and reading with gzip, on one scene, and its size.

Everything is written to and read from the page cache, on both sides of a comparison. Every figure
is the median of several rounds, and what is compared takes turns, except the training. Beside the
rate stands the processor time of a patch, all threads and processes together, which other work on
the machine disturbs far less.
"""

import argparse
import gzip
import json
import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANDCOVER_PROGRESS", "0")


from benchmarks.records_work import (
    Cost,
    build,
    cut_plain,
    evaluation_reader,
    median,
    network_steps,
    payloads,
    read_decoded,
    read_plain,
    simulated_scenes,
    timed,
    training_reader,
    write_files,
)
from landcover_tf.datasets.tfrecord import GZIP_LEVEL
from landcover_tf.system.files import write_json
from landcover_tf.system.provenance import hardware, software_versions
from landcover_tf.system.quiet import start_tensorflow

GZIP_COSTS = (
    (
        "build, fixed costs in",
        "build, 1 process, with fixed costs",
        "gzip: build, 1 process, fixed costs in",
    ),
    ("read plain files", "read plain files as bytes, 1 thread", "gzip: read plain files, 1 thread"),
    ("evaluation pipeline", "evaluation pipeline, vs bytes", "gzip: evaluation pipeline"),
)
"""Rows of the second table: its name of them, and theirs in the first."""
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
    parser.add_argument("--tables", action="store_true", help="measure nothing, see above")
    arguments = parser.parse_args()
    if arguments.tables:
        print(markdown_tables(json.loads(arguments.output.read_text())))
        return
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
    from landcover_tf.datasets.dataset_info import DatasetInfo

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
    start_tensorflow()
    spent: dict[str, list[Cost]] = defaultdict(list)
    evaluate = evaluation_reader(info, dataset)
    for _ in range(rounds):
        spent["bytes"].append(read_plain(plain))
        spent["decoded"].append(read_decoded(plain, info))
        spent["evaluation"].append(evaluate())
    network = network_steps(info)
    # Last, because it goes on filling its buffers, with both cores, when nobody reads.
    train = training_reader(info, dataset)
    training = [train() for _ in range(rounds)]
    return [
        row("read plain files as bytes, 1 thread", spent["bytes"]),
        row("read plain files and decode, 1 thread", spent["decoded"]),
        row("evaluation pipeline, vs bytes", spent["evaluation"], 0.5, spent["bytes"]),
        row("evaluation pipeline, vs decoded", spent["evaluation"], 0.5, spent["decoded"]),
        row("ResNet-50 U-Net training step", network),
        row("training pipeline, vs training step", training, 4.0, network),
    ]


def gzip_rows(folder: Path, scene: Path, rounds: int = 3) -> tuple[list[dict[str, Any]], float]:
    """Returns what gzip costs on one scene, beside files compressed alike, and bytes per patch."""
    from landcover_tf.datasets.dataset_info import DatasetInfo

    dataset, plain = folder / "gzip", folder / "plain-gzip"
    spent: dict[str, list[Cost]] = defaultdict(list)
    for number in range(rounds):
        shutil.rmtree(dataset, ignore_errors=True)
        whole = timed(lambda: build(scene, dataset, 1, "gzip"))
        info = DatasetInfo.load(dataset)
        spent["build"].append(whole / sum(split.records for split in info.splits.values()))
        payload = payloads(info, dataset, "train")[:48]
        packed = (gzip.compress(one, GZIP_LEVEL) for one in payload)
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


def markdown_tables(report: dict[str, Any]) -> str:
    """Returns the tables of docs/records.md: all rows, then what gzip changes."""
    lines = ["| | patches/s | ratio | aim | processor ms a patch |"]
    lines.append("|---|---|---|---|---|")
    for one in report["rows"]:
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}"
        aim = "" if one["aim"] is None else f"{one['aim']:g}"
        rate, spent = _three_digits(one["patches_per_s"]), _three_digits(one["cpu_ms"])
        lines.append(f"| {one['what']} | {rate} | {ratio} | {aim} | {spent} |")
    spent = {one["what"]: one["cpu_ms"] for one in report["rows"]}
    size = report["bytes_per_patch"]
    lines += ["", "| | none | gzip |", "|---|---|---|"]
    share = size["gzip"] / size["none"]
    lines.append(
        f"| MB a patch | {size['none'] / 1e6:.2f} | {size['gzip'] / 1e6:.2f} ({share:.0%}) |"
    )
    for name, none, zipped in GZIP_COSTS:
        cells = (f"{_three_digits(spent[what])} ms" for what in (none, zipped))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _three_digits(value: float) -> str:
    """Returns a figure without the digits that another run would change."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _bytes_per_patch(info: Any) -> float:
    shards = [shard for split in info.splits.values() for shard in split.shards]
    return sum(shard.bytes for shard in shards) / sum(shard.records for shard in shards)


if __name__ == "__main__":
    main()
