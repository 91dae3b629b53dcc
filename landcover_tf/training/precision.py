"""Which number format and which compiler a machine trains fastest with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import keras
import tensorflow as tf

Precision = Literal["auto", "float32", "float16", "bfloat16"]
Switch = Literal["auto", "on", "off"]

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
    """Returns `precision`, or for `auto` what is fastest here.

    float16 on a GPU; on a CPU bfloat16 where the processor multiplies it natively, otherwise
    float32. `benchmarks/train_step.py` measures whether that holds on a machine.
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "float16"
    return "bfloat16" if cpu_multiplies_bfloat16() else "float32"


def choose_jit(jit: Switch) -> bool:
    """Returns whether to compile with XLA; `auto` does on GPUs, on CPUs it measured slower."""
    return bool(tf.config.list_physical_devices("GPU")) if jit == "auto" else jit == "on"


def cpu_multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the processor has bfloat16 instructions; False where Linux does not say."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
