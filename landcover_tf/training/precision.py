"""Which number format and which compiler a machine trains fastest with."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from landcover_tf.training.config import Precision, Switch

_POLICIES = {"float32": "float32", "float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Layers built inside compute in `precision`; their variables are float32 in any case."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def choose_precision(precision: Precision) -> str:
    """Returns `precision`, or for `auto` float16 on a GPU and float32 on a CPU.

    A GPU's tensor cores are made for float16; what it gains there was not measured. Two CPU cores
    trained a ResNet-50 U-Net at 1.50 images/s in float32. In bfloat16 they reached 1.39 with XLA,
    and without it no result within 130 s (`benchmarks/results/train_step.json`).
    """
    if precision != "auto":
        return precision
    return "float16" if tf.config.list_physical_devices("GPU") else "float32"


def choose_jit(jit: Switch) -> bool:
    """Returns whether to compile with XLA; `auto` does on GPUs, where it was not measured.

    On a CPU it measured slower: 1.20 against 1.50 images/s in float32, 1.39 in bfloat16
    (`benchmarks/results/train_step.json`).
    """
    return bool(tf.config.list_physical_devices("GPU")) if jit == "auto" else jit == "on"
