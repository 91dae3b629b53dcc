"""Which number format and which compiler trains the ResNet-50 U-Net fastest on this machine?

    python -m benchmarks.train_step

Every case runs in a process of its own, so that its peak of memory is its own: the program's own
training step (weighted cross-entropy and Dice, AdamW, clipped gradients) on one batch of random
patches. The first steps, in which everything is compiled, are told apart; the rate is that of the
median step after them. On CPUs, the automatic choice is also timed with TensorFlow's own kernels
instead of oneDNN's. Then as many steps take their batches from the training's own pipeline, which
reads shards of random patches and augments them as `train` does by default: the input-bound share
is the part of such a step that it waits for its batch. Where there is a GPU, the cases run on it,
in float16 instead of bfloat16, and the table shows its memory. Operations are counted in the graph
of the forward pass, and three times those are taken for a step. Processors without bfloat16
arithmetic emulate it so slowly that a case is stopped after --limit-s and said to have been.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.train_step_input import input_waits, training_batches, write_random_dataset
from landcover_tf.system.files import write_json
from landcover_tf.system.provenance import hardware, software_versions
from landcover_tf.system.quiet import start_tensorflow

PRECISIONS = {"cpu": ("float32", "bfloat16"), "gpu": ("float32", "float16")}
WARM_UP = 2
CLASSES = 8
DATASET_PATCHES = 32
"""Least number of random patches; those of 256 px are 1.8 MB each and stay in the page cache."""


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--patch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--limit-s", type=float, default=300, help="stops a case after this time")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, for the share of its peak")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/train_step.json"))
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run_case(*arguments.case, arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.dataset = Path(folder)
        patches = max(DATASET_PATCHES, 4 * arguments.batch_size)
        write_random_dataset(arguments.dataset, patches=patches, patch_size=arguments.patch_size)
        rows = measure(arguments)
    write_json(
        arguments.output,
        {
            "encoder": arguments.encoder,
            "batch_size": arguments.batch_size,
            "patch_size": arguments.patch_size,
            "rows": rows,
            "hardware": hardware(),
            "software": software_versions(),
        },
    )


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the rows of all cases, printed as they come."""
    automatic = _child(["auto", "auto"], arguments, steps=0)
    chosen = (automatic["precision"], automatic["jit"], "on")
    cases = [(p, jit, "on") for p in PRECISIONS[automatic["device"]] for jit in ("off", "on")]
    if automatic["device"] == "cpu":
        cases.append((*chosen[:2], "off"))
    rows = []
    for case in cases:
        try:
            row = _child([*case[:2]], arguments, steps=arguments.steps, onednn=case[2])
        except subprocess.TimeoutExpired:
            row = {"precision": case[0], "jit": case[1], "stopped_s": arguments.limit_s}
        row |= {"device": automatic["device"], "onednn": case[2], "automatic": case == chosen}
        rows.append(row)
        print(format_row(row, arguments.peak_tflops), flush=True)
    fastest = max(rows, key=lambda row: row.get("images_per_s", 0.0))
    print(f"auto takes the fastest: {'yes' if fastest['automatic'] else 'no'}")
    return rows


def run_case(precision: str, jit: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what one case costs; with no steps, only what `auto` chooses."""
    start_tensorflow()
    import tensorflow as tf

    from landcover_tf.training.precision import choose_jit, choose_precision

    chosen = {
        "device": "gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        "precision": choose_precision(precision),
        "jit": "on" if choose_jit(jit) else "off",
    }
    if not arguments.steps:
        return chosen
    stepper = make_stepper(chosen["precision"], chosen["jit"] == "on", arguments.encoder)
    batch = random_batch(arguments.batch_size, arguments.patch_size)
    operations = 3 * forward_operations(stepper.model, batch[0])
    seconds = []
    for _ in range(WARM_UP + arguments.steps):
        started = time.perf_counter()
        loss, _ = stepper.train([batch], 0.0)
        float(loss)  # Waits for the device.
        seconds.append(time.perf_counter() - started)
    step_s = statistics.median(seconds[WARM_UP:])
    peak_gib = peak_bytes(chosen["device"]) / 2**30  # Without the pipeline's.
    batches = training_batches(
        arguments.dataset, batch_size=arguments.batch_size, patch_size=arguments.patch_size
    )
    return {
        **chosen,
        "images_per_s": arguments.batch_size / step_s,
        "step_s": step_s,
        "steps_s": seconds[WARM_UP:],
        "warm_up_s": sum(seconds[:WARM_UP]),
        "tflops": operations / step_s / 1e12,
        "peak_gib": peak_gib,
        **input_waits(stepper, batches, steps=arguments.steps, warm_up=WARM_UP),
    }


def make_stepper(precision: str, jit: bool, encoder: str) -> Any:
    """Returns the program's own step for a network of random weights."""
    from landcover_tf.bands import BAND_NAMES
    from landcover_tf.datasets.band_statistics import BandStatistics
    from landcover_tf.datasets.normalizer import Normalizer
    from landcover_tf.losses import SegmentationLoss
    from landcover_tf.model_spec import ModelSpec
    from landcover_tf.models.unet import build_unet
    from landcover_tf.optimizers import PartedOptimizer
    from landcover_tf.training.config import TrainConfig
    from landcover_tf.training.distributed import choose_devices
    from landcover_tf.training.precision import dtype_policy
    from landcover_tf.training.steps import Stepper

    count = len(BAND_NAMES)
    spec = ModelSpec(
        encoder=encoder,
        band_names=BAND_NAMES,
        class_codes=tuple(range(1, CLASSES + 1)),
        normalizer=Normalizer.fit(
            "reflectance", BandStatistics.empty(BAND_NAMES), [1e-4] * count, [-0.1] * count
        ),
    )
    defaults = TrainConfig(data_dir=Path(), output_dir=Path())
    with dtype_policy(precision):
        model = build_unet(spec)
    return Stepper(
        model,
        SegmentationLoss(defaults.loss_settings(class_weights=None)),
        PartedOptimizer(
            "adamw",
            weight_decay=0.01,
            part_of=lambda v: "all",
            factors={"all": 1.0},
            scale_loss=precision == "float16",
        ),
        strategy=choose_devices("single").strategy,
        clip_norm=1.0,
        jit=jit,
    )


def random_batch(batch_size: int, patch_size: int) -> tuple[Any, Any]:
    """Returns reflectances and dense labels."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    image = rng.random((batch_size, patch_size, patch_size, 13), np.float32)
    label = rng.integers(0, CLASSES, (batch_size, patch_size, patch_size)).astype(np.uint8)
    return tf.constant(image), tf.constant(label)


def forward_operations(model: Any, image: Any) -> int:
    """Returns the floating-point operations of a forward pass, as TensorFlow counts them."""
    import tensorflow as tf

    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(tf.TensorSpec(image.shape, image.dtype)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    )
    found = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
    return int(found.total_float_ops)


def peak_bytes(device: str) -> int:
    """Returns the peak of the GPU's memory, or of this process's resident memory."""
    if device == "gpu":
        import tensorflow as tf

        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def format_row(row: dict[str, Any], peak_tflops: float | None) -> str:
    """Returns one line of the table."""
    share = f" ({row['tflops'] / peak_tflops:.0%} of the peak)" if peak_tflops else ""
    kernels = f"oneDNN {row['onednn']:<3}  " if row["device"] == "cpu" else ""
    case = f"{row['device']} {row['precision']:<9} XLA {row['jit']:<3}  {kernels}"
    chosen = "  <- auto" if row["automatic"] else ""
    if "stopped_s" in row:
        return f"{case}stopped after {row['stopped_s']:.0f} s{chosen}"
    return (
        f"{case}{row['images_per_s']:6.2f} images/s  {row['tflops']:.3f} TFLOP/s{share}  "
        f"input-bound {row['input_bound_fraction']:.1%}  "
        f"first steps {row['warm_up_s']:5.1f} s  peak {row['peak_gib']:.2f} GiB{chosen}"
    )


def _child(
    case: list[str], arguments: argparse.Namespace, *, steps: int, onednn: str = "on"
) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.train_step", "--case", *case]
    for name in ("encoder", "batch_size", "patch_size", "dataset"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    done = subprocess.run(
        [*command, "--steps", str(steps)], stdout=subprocess.PIPE, text=True, check=False,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1" if onednn == "on" else "0"},
        timeout=arguments.limit_s,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
