"""What does a whole prediction cost beside the network alone?

    python -m benchmarks.predict --work-dir /tmp/landcover-bench

A random scene and an export of random weights are made once and kept in the work folder. Each
case runs the network alone on as many windows as the map needs, then the program itself, each in
a process of its own, so that its peak of resident memory is its own. Random weights cost what
trained ones do; the maps mean nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from landcover_tf.files import write_json
from landcover_tf.provenance import hardware, software_versions

CASES = (
    "exact openvino float32",
    "exact openvino bf16",
    "exact tensorflow float32",
    "blend openvino float32",
)
KM2_PER_PX = 1e-4


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work-dir", type=Path, default=Path("/tmp/landcover-bench"))
    parser.add_argument("--rows", type=int, nargs="+", default=[4096], help="heights of the scenes")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--scene", type=Path, help="a raster or product instead of random scenes")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--cases", nargs="+", default=list(CASES[:1]), help="MODE ENGINE PRECISION")
    parser.add_argument("--memory-gb", type=float, default=4.0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/predict.json"))
    parser.add_argument("--network-only", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.network_only:
        print(
            json.dumps(
                network_alone(arguments.work_dir / arguments.encoder, *arguments.network_only)
            )
        )
        return
    make_export(arguments.work_dir, arguments.encoder)
    rows = []
    for height in [0] if arguments.scene else arguments.rows:
        scene = arguments.scene or make_scene(arguments.work_dir, height, arguments.width)
        for case in arguments.cases:
            rows.append(run_case(case, scene, arguments))
            print(format_row(rows[-1]), flush=True)
    machine = {"hardware": hardware(), "software": software_versions()}
    write_json(arguments.output, {"encoder": arguments.encoder, "rows": rows, **machine})
    print(f"written to {arguments.output}")


def run_case(case: str, scene: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the network's time, the program's time and the program's peak memory."""
    mode, engine, precision = case.split()
    export = arguments.work_dir / arguments.encoder
    command = [sys.executable, "-m", "benchmarks.predict", "--work-dir", str(arguments.work_dir)]
    command += ["--encoder", arguments.encoder, "--network-only", mode, engine, precision]
    command += [str(scene), str(arguments.memory_gb)]
    alone = json.loads(_run(command)[0].splitlines()[-1])
    out = arguments.work_dir / "maps" / f"{scene.stem}_{mode}_{engine}_{precision}.tif"
    command = [sys.executable, "-m", "serving.predict", "--model-path", str(export)]
    command += ["--input-image", str(scene), "--output-map", str(out), "--overwrite"]
    command += ["--mode", mode, "--engine", engine, "--precision", precision]
    command += ["--memory-gb", str(arguments.memory_gb), "--no-picture", "--no-stac"]
    _, seconds, peak_bytes = _run(command)
    height, width = alone["shape"]
    return {
        "case": case,
        "input": scene.suffix.removeprefix("."),
        **alone,
        "program_s": seconds,
        "peak_gib": peak_bytes / 2**30,
        "km2_per_hour": height * width * KM2_PER_PX / seconds * 3600,
    }


def network_alone(
    export: Path, mode: str, engine: str, precision: str, scene: str, memory_gb: str
) -> dict[str, object]:
    """Returns what opening the engine and running it on every window costs, without a raster.

    `start_s` is what opening and compiling take: all until the end of the first batch, less the
    time of an ordinary batch. `network_s` holds that of every batch.
    """
    from serving.config import PredictConfig
    from serving.engines import Engine
    from serving.layouts import batch_size
    from serving.options import options_of
    from serving.plan import example_batch
    from serving.scene_prediction import ScenePrediction

    config = PredictConfig(
        model_path=export,
        input_image=(Path(scene),),
        output_map=Path("none.tif"),
        mode=mode,
        engine=engine,
        precision=precision,
        memory_gb=float(memory_gb),
    )
    options = options_of(config)
    started = time.perf_counter()
    opened = Engine(export, options)
    prediction = ScenePrediction(Path(scene), config.output_map, opened, options)
    layout = prediction.layout
    size = batch_size(layout, options.network)
    batch = example_batch(layout, opened.info, size)
    run = opened.backend.decide if layout.mode == "exact" else opened.backend.probabilities
    run(batch)
    first_s = time.perf_counter() - started
    # Batches never mix window rows, in the program as here.
    batches = len(layout.rows) * -(-len(layout.cols) // size)
    timed = max(batches - 1, 1)
    started = time.perf_counter()
    for _ in range(timed):
        run(batch)
    batch_s = (time.perf_counter() - started) / timed
    seconds = batches * batch_s
    computed = batches * np.prod(batch.shape[:3])
    return {
        "shape": [layout.height, layout.width],
        "windows": f"{layout.count} of {layout.window_height}x{layout.window_width}",
        "computed_per_px": layout.computed_fraction,
        "start_s": max(first_s - batch_s, 0.0),
        "network_s": seconds,
        "network_mpx_per_s": float(computed / seconds / 1e6),
    }


def format_row(row: dict[str, object]) -> str:
    """Returns one line of the table."""
    values = {k: v for k, v in row.items() if isinstance(v, float)}
    ratio = values["program_s"] / values["network_s"]
    return (
        f"{row['shape']!s:>14} {row['case']:<26} {row['windows']:<18} "
        f"{values['computed_per_px']:.3f} px/px  start {values['start_s']:5.1f} s, network "
        f"{values['network_s']:7.1f} s ({values['network_mpx_per_s']:.2f} Mpx/s), program "
        f"{values['program_s']:7.1f} s ({ratio:.2f} x the network)  "
        f"peak {values['peak_gib']:.2f} GiB  {values['km2_per_hour']:.0f} km2/h"
    )


def make_scene(work_dir: Path, height: int, width: int) -> Path:
    """Returns a prepared-like GeoTIFF of smooth random reflectances with a no-data edge."""
    import rasterio
    from rasterio import Affine
    from rasterio.windows import Window
    from scipy import ndimage

    from landcover_tf.bands import BAND_NAMES

    path = work_dir / f"scene_{height}x{width}.tif"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(512, width)).astype(np.float32), 6)
    smooth *= 600 / smooth.std()
    temporary = path.with_suffix(".part.tif")
    with rasterio.open(
        temporary,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=13,
        dtype="uint16",
        nodata=0,
        crs="EPSG:32634",
        transform=Affine(10, 0, 600_000, 0, -10, 4_200_000),
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="zstd",
        zstd_level=1,
        predictor=2,
        bigtiff="if_safer",
    ) as dataset:
        dataset.descriptions = BAND_NAMES
        dataset.scales, dataset.offsets = (1e-4,) * 13, (-0.1,) * 13
        for row in range(0, height, 512):
            rows = min(512, height - row)
            for band in range(13):
                field = np.roll(smooth, (37 * band, row), axis=(1, 0))[:rows]
                values = field + 2500 + rng.normal(0, 50, field.shape)
                values = np.clip(values, 1001, 9000).astype(np.uint16)
                values[:, : width // 50] = 0
                dataset.write(values, band + 1, window=Window(0, row, width, rows))
    temporary.replace(path)
    return path


def make_export(work_dir: Path, encoder: str) -> Path:
    """Returns an export of an untrained U-Net for 13 bands, written if it is not there yet."""
    folder = work_dir / encoder / "landcover" / "1"
    if folder.is_dir():
        return folder
    import keras

    from landcover_tf.bands import BAND_NAMES
    from landcover_tf.dataset_info import BandInfo
    from landcover_tf.exporting import write_export
    from landcover_tf.legend import load_legend
    from landcover_tf.model_info import ModelInfo, ModelSpec
    from landcover_tf.models.receptive_field import receptive_field
    from landcover_tf.models.unet import build_unet
    from landcover_tf.normalizer import Normalizer

    keras.utils.set_random_seed(0)
    legend, n = load_legend("landcover9"), len(BAND_NAMES)
    normalizer = Normalizer(
        kind="standardize",
        bands=BAND_NAMES,
        clip_min=(-1.0,) * n,
        clip_max=(2.0,) * n,
        shift=(0.15,) * n,
        factor=(8.0,) * n,
    )
    network = build_unet(
        ModelSpec(
            encoder=encoder,
            band_names=BAND_NAMES,
            class_codes=legend.codes,
            normalizer=normalizer,
        )
    )
    field = receptive_field(network)
    info = ModelInfo(
        name="landcover",
        version=1,
        bands=tuple(BandInfo(name=b, scale=1e-4, offset=-0.1) for b in BAND_NAMES),
        dtype="uint16",
        nodata=0,
        resolution_m=10.0,
        legend=legend,
        class_codes=legend.codes,
        patch_size=256,
        size_multiple=field.stride_px,
        receptive_field_px=field.field_px,
        margin_px=field.margin_px,
        encoder=encoder,
        normalizer=normalizer.to_dict(),
    )
    images = np.random.default_rng(0).integers(1000, 5000, (1, 64, 64, n)).astype(np.uint16)
    write_export(network, info, folder, check_images=images)
    return folder


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
