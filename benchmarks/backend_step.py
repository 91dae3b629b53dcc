"""How fast does the network train on another Keras backend, such as JAX on a GPU?

    KERAS_BACKEND=jax python -m benchmarks.backend_step --batch-size 32 --peak-tflops 989

The trainer itself needs TensorFlow; `benchmarks.train_step` times it. Network, loss and metrics
are Keras alone, and this times them where TensorFlow is absent: one compiled step of `build_unet`
and `SegmentationLoss` with AdamW on a batch of random reflectances that lies on the device. Of
JAX, whose compiler counts the operations of the whole step.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from landcover_tf.bands import BAND_NAMES
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.losses import SegmentationLoss
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.unet import build_unet
from landcover_tf.training.config import TrainConfig

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
CLASSES = 8
WARM_UP = 3


def main() -> None:
    """Prints one line per number format."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--patch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--policies", nargs="+", default=POLICIES)
    parser.add_argument("--peak-tflops", type=float, help="of the device, for the share of it")
    arguments = parser.parse_args()
    first = None
    for policy in arguments.policies:
        row = measure(policy, arguments)
        first = first or row["images_per_s"]
        share = (
            f" ({row['tflops'] / arguments.peak_tflops:.0%} of the peak)"
            if arguments.peak_tflops
            else ""
        )
        print(
            f"{jax.devices()[0].device_kind} {policy:<14} batch {arguments.batch_size}  "
            f"{row['images_per_s']:8.1f} images/s ({row['images_per_s'] / first:.2f} x)  "
            f"{row['tflops']:6.1f} TFLOP/s{share}  compiled in {row['compile_s']:.0f} s",
            flush=True,
        )


def measure(policy: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns images and operations per second of the median step."""
    keras.config.set_dtype_policy(policy)
    step, state = training_step(arguments.encoder)
    rng = np.random.default_rng(0)
    shape = (arguments.batch_size, arguments.patch_size, arguments.patch_size)
    image = jnp.asarray(rng.random((*shape, len(BAND_NAMES)), np.float32))
    label = jnp.asarray(rng.integers(0, CLASSES, shape).astype(np.uint8))
    started = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=0).lower(state, image, label)
    # Of the step as it was traced: compilers of GPUs hide convolutions in calls of libraries.
    operations = lowered.cost_analysis()["flops"]
    compiled = lowered.compile()
    compile_s = time.perf_counter() - started
    seconds = []
    for _ in range(WARM_UP + arguments.steps):
        started = time.perf_counter()
        state, loss = compiled(state, image, label)
        loss.block_until_ready()
        seconds.append(time.perf_counter() - started)
    step_s = statistics.median(seconds[WARM_UP:])
    return {
        "images_per_s": arguments.batch_size / step_s,
        "tflops": operations / step_s / 1e12,
        "compile_s": compile_s,
    }


def training_step(encoder: str) -> tuple[Any, Any]:
    """Returns a pure function (state, image, label) -> (state, loss) and the first state."""
    count = len(BAND_NAMES)
    model = build_unet(
        ModelSpec(
            encoder=encoder,
            band_names=BAND_NAMES,
            class_codes=tuple(range(1, CLASSES + 1)),
            normalizer=Normalizer(
                kind="reflectance", bands=BAND_NAMES, clip_min=(0.0,) * count,
                clip_max=(1.0,) * count, shift=(0.0,) * count, factor=(1.0,) * count,
            ),
        )
    )  # fmt: skip
    defaults = TrainConfig(data_dir=Path(), output_dir=Path())
    loss = SegmentationLoss(defaults.loss_settings(class_weights=None))
    optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01, clipnorm=1.0)
    optimizer.build(model.trainable_variables)

    def cost(trainable: Any, fixed: Any, image: Any, label: Any) -> tuple[Any, Any]:
        logits, fixed = model.stateless_call(trainable, fixed, image, training=True)
        return loss(label, logits)[()], fixed

    def step(state: Any, image: Any, label: Any) -> tuple[Any, Any]:
        trainable, fixed, moments = state
        (value, fixed), gradients = jax.value_and_grad(cost, has_aux=True)(
            trainable, fixed, image, label
        )
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return (trainable, fixed, moments), value

    groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    return step, tuple([v.value for v in group] for group in groups)


if __name__ == "__main__":
    main()
