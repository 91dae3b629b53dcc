"""TensorFlow started with its fast CPU kernels and without its chatter; OpenVINO kept from home."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def start_tensorflow() -> None:
    """Imports TensorFlow and finds its devices with standard error set aside.

    Since version 2.18 its messages about CPU features and missing GPUs come before its log level
    is read, so TF_CPP_MIN_LOG_LEVEL does not silence them. They are shown when the start fails.
    """
    if "tensorflow" in sys.modules:
        return
    use_onednn()
    # A program has set it for its worker processes; a notebook has not.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _aside():
        # Named as text: the import linter counts every import statement, and this module
        # is for programs whose flags are parsed already.
        import_module("tensorflow").config.list_physical_devices()


def start_keras() -> None:
    """Starts TensorFlow and Keras as the code needs them, whatever the user's Keras settings say.

    Those, in the environment or `~/.keras/keras.json`, may name another backend, channels first
    or another float type. `keras.wrappers` and `keras.visualization` are there only if Keras was
    imported before: their packages are a third of the time that this takes.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Keras 3.15 imports them where they are installed: 2.1 of 5.8 s of processor time.
    with _without("sklearn", "matplotlib"):
        start_tensorflow()
        config = import_module("keras").config
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Lets packages that are not imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def settle_onednn() -> None:
    """Lets oneDNN say aside what it says once in a process, and what looks like a failure.

    Without AVX-512 its first transposition of whole numbers in a graph logs an error, "oneDNN
    supports DT_INT32 only on platforms with AVX-512. Falling back ..." (TensorFlow 2.21), which
    came in the middle of the first epoch. Runs a graph, so devices must have been set up.
    """
    tensorflow = import_module("tensorflow")
    with _aside(), tensorflow.device("CPU:0"):
        tensorflow.function(tensorflow.transpose)(tensorflow.constant([[1, 2]]))


@contextmanager
def _aside() -> Iterator[None]:
    """Sets what is written to standard error aside, and shows it when the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_openvino() -> Any:
    """Returns the module `openvino`, which then reports nothing to its makers.

    Its telemetry would write a number for the user into the home folder and send it, with the
    kind of use, at each import and conversion, without being asked (openvino-telemetry 2025.2).

    Raises:
        ImportError: It is not installed.
    """
    # None makes its import fail, for which OpenVINO has a stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def use_onednn() -> None:
    """Asks for oneDNN's kernels, unless the user's environment says otherwise.

    TensorFlow takes them by itself only on processors with AVX-512 or newer. With AVX2 alone a
    training step of the ResNet-18 U-Net on 32 patches of 32 px took 0.83 s with them and 2.38 s
    without (`benchmarks/train_step.py`).
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
