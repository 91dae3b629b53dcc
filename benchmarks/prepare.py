"""What does preparing a full tile cost beside merely decoding it?

    python -m benchmarks.prepare --work-dir /tmp/landcover-bench

A simulated tile of 10980 x 10980 px is written once (about 5 minutes) and kept in the work folder.
Each step runs in a process of its own, so that its peak of resident memory is its own: decoding
the 13 JP2 files with rasterio, whole bands one after the other, and `landcover prepare` with
several methods.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from landcover_tf.system.files import write_json
from landcover_tf.system.provenance import hardware, software_versions

STEPS = ("decode", "bicubic", "glp", "locreg")


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work-dir", type=Path, default=Path("/tmp/landcover-bench"))
    parser.add_argument("--size-px", type=int, default=10980)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=["decode", "bicubic", "glp"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/prepare.json"))
    parser.add_argument("--run-step", choices=("tile", *STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_step:
        product = make_tile(arguments.work_dir, arguments.size_px)
        if arguments.run_step != "tile":
            print(json.dumps(run_step(arguments.run_step, product, arguments.work_dir)))
        return
    # A child's peak of memory starts at its parent's, so even the tile is made by a child.
    run_child("tile", arguments)
    rows = []
    for step in arguments.steps:
        rows.append(json.loads(run_child(step, arguments).splitlines()[-1]))
        print(format_row(rows[-1], rows[0]), flush=True)
    write_json(
        arguments.output,
        {
            "size_px": arguments.size_px,
            "rows": rows,
            "hardware": hardware(),
            "software": software_versions(),
        },
    )
    print(f"written to {arguments.output}")


def run_child(step: str, arguments: argparse.Namespace) -> str:
    """Returns what a step prints in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.prepare", "--run-step", step]
    command += ["--work-dir", str(arguments.work_dir), "--size-px", str(arguments.size_px)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_tile(work_dir: Path, size_px: int) -> Path:
    """Returns the simulated product, written if it is not there yet."""
    folder = work_dir / f"tile_{size_px}"
    found = sorted((folder / "products").glob("*.SAFE"))
    if found:
        return found[0]
    from landcover_tf.sentinel2.simulation import Flaws, simulate_product

    # A temporary name, so that an interrupted tile is not taken for a whole one.
    part = work_dir / f"tile_{size_px}.part"
    shutil.rmtree(part, ignore_errors=True)
    swath_edge = Flaws(nodata_fraction=0.05)
    simulate_product(part, size_px=size_px, seed=7, cloud_fraction=0.1, flaws=swath_edge)
    part.rename(folder)
    return make_tile(work_dir, size_px)


def run_step(step: str, product: Path, work_dir: Path) -> dict[str, object]:
    """Returns seconds, processor seconds and peak memory of one step."""
    started, used = time.perf_counter(), os.times()
    if step == "decode":
        decode(product)
    else:
        prepare(step, product, work_dir / "prepared")
    now = os.times()
    return {
        "step": step,
        "seconds": time.perf_counter() - started,
        "processor_seconds": now.user + now.system - used.user - used.system,
        # Above the number of cores others were at work, and the seconds say little.
        "load_average": os.getloadavg()[0],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def decode(product: Path) -> None:
    """Decodes the 13 bands."""
    import rasterio

    from landcover_tf.bands import BAND_NAMES
    from landcover_tf.sentinel2.safe import open_product

    opened = open_product(product)
    for name in BAND_NAMES:
        with rasterio.open(opened.band_path(name)) as dataset:
            dataset.read(1)


def prepare(method: str, product: Path, output: Path) -> None:
    """Prepares the product with one method, without labels."""
    from landcover_tf import prepare as program

    shutil.rmtree(output, ignore_errors=True)
    flags = ["--sentinel2-dir", str(product), "--output-dir", str(output)]
    if method != "bicubic":
        flags += ["--sharpening", method]
    # The last line on standard output is the result.
    code = program.main(flags)
    shutil.rmtree(output)
    if code:
        raise SystemExit(code)


def format_row(row: dict[str, object], reference: dict[str, object]) -> str:
    """Returns one line of the table."""
    ratio = row["seconds"] / reference["seconds"]
    return (
        f"{row['step']:8} {row['seconds']:7.1f} s   {row['processor_seconds']:7.1f} s of cores   "
        f"{row['peak_gib']:5.2f} GiB   {ratio:5.2f} x {reference['step']}"
    )


if __name__ == "__main__":
    main()
