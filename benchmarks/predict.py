"""What does a whole prediction cost beside the network alone, and does its memory stay flat?

    python -m benchmarks.predict --work-dir /tmp/landcover-bench

Random scenes and an export of random weights are made once and kept in the work folder. Each
run is the program itself in a process of its own, so that its peak of resident memory is its own;
before and after it, where the two are compared, other processes run the network alone on as many
windows as the map needs; their mean counts, for the speed of a machine drifts. Random weights cost
what trained ones do; the maps mean nothing. Pictures and STAC items are left out.

Without `--rows`, `--cases` and `--scene` the runs are those that the aims below are about, which
take a quarter of an hour on two cores, and a verdict on each aim follows:

- 4096 x 4096 px in exact mode: the program beside the network, and beside blended patches;
- 2048 and 10980 rows of 3072 columns: the peak of memory. `--memory-gb 2.1` gives both two columns
  of windows of about 2048 rows. A scene of one window has none read ahead, and with more memory
  the taller one gets higher windows, as many as memory allows;
- windows of a full tile, laid and not run: the pixels computed for each of the map.

A product costs more than a GeoTIFF: `--scene` measures one, without a verdict.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from benchmarks.predict_inputs import make_empty_tile, make_export, make_scene
from landcover_tf.system.files import write_json
from landcover_tf.system.provenance import hardware, software_versions

KM2_PER_PX = 1e-4
TIMED_BATCHES = 8
"""Batches of the network alone that are timed at most."""

MAX_PROGRAM_RATIO = 1.15
"""Time of the program over that of its network."""
MAX_COMPUTED_PER_PX = 1.5
MAX_MEMORY_GIB = 4.0
MAX_MEMORY_RATIO = 1.1
"""Peak of the tallest scene over that of the lowest."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A prediction to measure."""

    case: str
    """MODE ENGINE PRECISION."""
    height: int
    width: int
    memory_gb: float
    network: bool
    """Whether to time the network alone as well."""


EXACT, BLEND = "exact openvino float32", "blend openvino float32"
AIMED_AT = (
    Run(case=EXACT, height=4096, width=4096, memory_gb=4.0, network=True),
    Run(case=BLEND, height=4096, width=4096, memory_gb=4.0, network=True),
    Run(case=EXACT, height=2048, width=3072, memory_gb=2.1, network=False),
    Run(case=EXACT, height=10980, width=3072, memory_gb=2.1, network=False),
)
"""What the aims are about."""


def main() -> None:
    """Prints the table and the verdicts, and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work-dir", type=Path, default=Path("/tmp/landcover-bench"))
    parser.add_argument("--rows", type=int, nargs="+", help="heights of the scenes")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--scene", type=Path, help="a raster or product instead of random scenes")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--cases", nargs="+", help=f"MODE ENGINE PRECISION, such as {EXACT!r}")
    parser.add_argument("--memory-gb", type=float, default=4.0)
    parser.add_argument(
        "--formats",
        nargs="*",
        default=["openvino"],
        help="of the export; given without any, OpenVINO converts the model at each start",
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/predict.json"))
    parser.add_argument("--network-only", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.network_only:
        print(json.dumps(network_alone(*arguments.network_only)))
        return
    export = make_export(arguments.work_dir, arguments.encoder, arguments.formats)
    aimed_at = not (arguments.rows or arguments.cases or arguments.scene)
    rows = []
    for run in AIMED_AT if aimed_at else asked(arguments):
        made = arguments.scene or make_scene(arguments.work_dir, run.height, run.width)
        rows.append(measure(run, made, export, arguments.work_dir / "maps"))
        print(format_row(rows[-1]), flush=True)
    aims = verdicts(rows, tile_computed_per_px(export, arguments.work_dir)) if aimed_at else []
    for aim in aims:
        print(f"{'yes' if aim['met'] else 'NO ':<3} {aim['aim']}: {aim['found']}")
    results = {"encoder": arguments.encoder, "formats": arguments.formats, "rows": rows}
    machine = {"hardware": hardware(), "software": software_versions()}
    write_json(arguments.output, {**results, "aims": aims, **machine})
    print(f"written to {arguments.output}")


def asked(arguments: argparse.Namespace) -> list[Run]:
    """Returns the runs that the flags ask for."""
    return [
        Run(
            case=case,
            height=height,
            width=arguments.width,
            memory_gb=arguments.memory_gb,
            network=True,
        )
        for height in ([0] if arguments.scene else arguments.rows or [4096])
        for case in arguments.cases or [EXACT]
    ]


def measure(run: Run, scene: Path, export: Path, maps: Path) -> Row:
    """Returns the program's time and peak of memory, and where asked for the network's time."""
    mode, engine, precision = run.case.split()
    row = {"case": run.case, "input": scene.suffix.removeprefix("."), "memory_gb": run.memory_gb}
    alone = [_network_alone(run, scene, export)] if run.network else []
    layout = prediction(export, run.case, scene, run.memory_gb).layout
    out = maps / f"{scene.stem}_{mode}_{engine}_{precision}.tif"
    command = [sys.executable, "-m", "serving.predict", "--model-path", str(export)]
    command += ["--input-image", str(scene), "--output-map", str(out), "--overwrite"]
    command += ["--mode", mode, "--engine", engine, "--precision", precision]
    command += ["--memory-gb", str(run.memory_gb), "--no-picture", "--no-stac"]
    _, seconds, peak_bytes = _run(command)
    with rasterio.open(out) as made:  # In what, for a processor may not compute as it is asked.
        row["computed_on"] = made.tags()["prediction"].partition(", ")[2]
    if run.network:
        alone.append(_network_alone(run, scene, export))
        for name in ("start_s", "network_s", "network_mpx_per_s"):
            row[name] = sum(one[name] for one in alone) / len(alone)
        row["network_each_s"] = [one["network_s"] for one in alone]
    return row | {
        "shape": [layout.height, layout.width],
        "windows": f"{layout.count} of {layout.window_height}x{layout.window_width}",
        "computed_per_px": layout.computed_fraction,
        "program_s": seconds,
        "peak_gib": peak_bytes / 2**30,
        "km2_per_hour": layout.height * layout.width * KM2_PER_PX / seconds * 3600,
    }


def _network_alone(run: Run, scene: Path, export: Path) -> Row:
    """Returns what `network_alone` finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.predict", "--network-only"]
    command += [str(export), run.case, str(scene), str(run.memory_gb)]
    return dict(json.loads(_run(command)[0].splitlines()[-1]))


def prediction(export: Path, case: str, scene: Path, memory_gb: float) -> Any:
    """Returns the `ScenePrediction` of a case, with windows laid and nothing run."""
    from serving.config import PredictConfig
    from serving.engines import Engine
    from serving.options import network_options, options_of
    from serving.scene_prediction import ScenePrediction

    mode, engine, precision = case.split()
    config = PredictConfig(
        model_path=export,
        input_image=(scene,),
        output_map=Path("none.tif"),
        mode=mode,
        engine=engine,
        precision=precision,
        memory_gb=memory_gb,
    )
    engine = Engine(export, network_options(config))
    options = options_of(config, engine.info)
    return ScenePrediction(scene, config.output_map, engine, options)


def network_alone(export: str, case: str, scene: str, memory_gb: str) -> Row:
    """Returns what opening the engine and running it on every window costs, without a raster.

    `start_s` is what opening and compiling take, `network_s` all batches together. The first takes
    longer, in which the network touches its memory; a map needs it as well.
    """
    from serving.layouts import batch_size
    from serving.plan import example_batch

    laid = prediction(Path(export), case, Path(scene), float(memory_gb))
    layout, engine = laid.layout, laid.engine
    size, exact = batch_size(layout, laid.options.network), layout.mode == "exact"
    batch = example_batch(layout, engine.info, size)
    started = time.perf_counter()
    engine.backend.prepare(batch.shape, deciding=exact)
    start_s = time.perf_counter() - started
    run = engine.backend.decide if exact else engine.backend.probabilities
    # Batches never mix window rows, in the program as here.
    batches = len(layout.rows) * -(-len(layout.cols) // size)
    each = [_seconds(run, batch) for _ in range(min(batches, TIMED_BATCHES))]
    # Those after the first are alike.
    network_s = each[0] + (batches - 1) * sum(each[1:]) / max(len(each) - 1, 1)
    return {
        "start_s": start_s,
        "network_s": network_s,
        "network_mpx_per_s": float(batches * np.prod(batch.shape[:3]) / network_s / 1e6),
    }


def _seconds(run: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> float:
    started = time.perf_counter()
    run(batch)
    return time.perf_counter() - started


def tile_computed_per_px(export: Path, work_dir: Path) -> float:
    """Returns the pixels that exact mode computes for each of a full tile's map."""
    return float(prediction(export, EXACT, make_empty_tile(work_dir), 4.0).layout.computed_fraction)


def verdicts(rows: Sequence[Mapping[str, Any]], tile_per_px: float) -> list[Row]:
    """Returns what was aimed at, what was found, and whether it is met.

    Args:
        rows: Measurements of `AIMED_AT`, in its order.
        tile_per_px: Pixels computed for each of a full tile's map.
    """
    exact, blend, low, tall = rows
    ratio = exact["program_s"] / exact["network_s"]
    growth, peak = tall["peak_gib"] / low["peak_gib"], max(row["peak_gib"] for row in rows)
    found = [
        (
            f"the program takes at most {MAX_PROGRAM_RATIO} x the network",
            f"{exact['program_s']:.1f} s, {ratio:.3f} x {exact['network_s']:.1f} s",
            ratio <= MAX_PROGRAM_RATIO,
        ),
        (
            f"exact mode computes at most {MAX_COMPUTED_PER_PX} px per px of a full tile",
            f"{tile_per_px:.3f}",
            tile_per_px <= MAX_COMPUTED_PER_PX,
        ),
        (
            "exact mode is faster than patches of 256 px that share 96",
            f"{exact['program_s']:.1f} s and {blend['program_s']:.1f} s",
            exact["program_s"] < blend["program_s"],
        ),
        (
            f"{tall['shape'][0]} rows take at most {MAX_MEMORY_RATIO} x the memory of "
            f"{low['shape'][0]}",
            f"{growth:.3f} x {low['peak_gib']:.2f} GiB",
            growth <= MAX_MEMORY_RATIO,
        ),
        (
            f"memory stays below {MAX_MEMORY_GIB:.0f} GiB",
            f"{peak:.2f} GiB at most",
            peak <= MAX_MEMORY_GIB,
        ),
    ]
    return [{"aim": aim, "found": value, "met": met} for aim, value, met in found]


def format_row(row: Mapping[str, Any]) -> str:
    """Returns one line of the table."""
    shape, network = "x".join(map(str, row["shape"])), ""
    if "network_s" in row:
        network = (
            f"  start {row['start_s']:.1f} s, network {row['network_s']:.1f} s "
            f"({row['network_mpx_per_s']:.2f} Mpx/s, program "
            f"{row['program_s'] / row['network_s']:.2f} x)"
        )
    return (
        f"{shape:>11} {row['case']:<23} on {row['computed_on']:<20} {row['windows']:<17} "
        f"{row['computed_per_px']:.3f} px/px  "
        f"program {row['program_s']:6.1f} s, {row['km2_per_hour']:.0f} km2/h, "
        f"peak {row['peak_gib']:.2f} GiB{network}"
    )


def _run(command: list[str]) -> tuple[str, float, int]:
    """Returns a command's output, its seconds and its peak of resident memory in bytes."""
    started = time.perf_counter()
    # The child's own peak, not the largest of all children so far.
    probe = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe, *command], stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}")
    lines = result.stdout.splitlines()
    unit = 1 if sys.platform == "darwin" else 1024
    return "\n".join(lines[:-1]), time.perf_counter() - started, int(lines[-1]) * unit


if __name__ == "__main__":
    main()
