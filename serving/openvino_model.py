"""The exported SavedModel run by OpenVINO, the fastest engine measured on CPUs."""

import ctypes
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from landcover_tf.errors import ModelError
from landcover_tf.system.quiet import import_openvino
from serving.config import Precision
from serving.local_model import KEPT_SHAPES
from serving.row_band_content import LEVELS

Answer = Literal["probabilities", "decision"]


class OpenVinoModel:
    """An export converted in memory and compiled once per input shape."""

    one_shape = True

    def __init__(self, folder: Path, *, precision: Precision = "float32") -> None:
        """Notes an export; OpenVINO is imported, and converts it, when first needed.

        Args:
            folder: Version folder of the export.
            precision: `bf16` runs convolutions in bfloat16 where the processor has it; without
                it OpenVINO computes in float32, and `name` says so.
        """
        self._folder = folder
        self._asked: Precision = precision
        self._compiled: dict[tuple[Answer, tuple[int, ...]], Any] = {}

    @cached_property
    def _openvino(self) -> Any:
        return import_openvino()

    @cached_property
    def _core(self) -> Any:
        return self._openvino.Core()

    @cached_property
    def _precision(self) -> Precision:
        known = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return self._asked if "BF16" in known else "float32"

    @property
    def name(self) -> str:
        """The engine and the precision that it computes in."""
        return f"openvino {self._precision}"

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None:
        """Converts and compiles for batches of a shape.

        Raises:
            ModelError: OpenVINO cannot convert the export.
        """
        self._request("decision" if deciding else "probabilities", shape)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes]."""
        return self._run("probabilities", batch)

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""
        return self._run("decision", batch)

    def _run(self, answer: Answer, batch: np.ndarray) -> np.ndarray:
        request = self._request(answer, batch.shape)
        # The result is copied: the request's own buffer is written again by the next batch.
        return np.array(request.infer({0: batch}, share_inputs=True, share_outputs=True)[0])

    def _request(self, answer: Answer, shape: tuple[int, ...]) -> Any:
        if (answer, shape) not in self._compiled:
            # A compiled model holds the memory of its activations.
            if len(self._compiled) >= KEPT_SHAPES or any(a != answer for a, _ in self._compiled):
                self._compiled.clear()
            self._compiled[answer, shape] = self._compile(answer, shape)
            _return_freed_memory()
        return self._compiled[answer, shape]

    def _compile(self, answer: Answer, shape: tuple[int, ...]) -> Any:
        # Read anew for each shape: kept, the graph would hold memory that windows can use.
        model = self._read()
        model.reshape({0: list(shape)})
        if answer == "decision":
            model = _deciding(self._openvino, model)
        if self._precision == "bf16":
            model = _exact_before_convolutions(self._openvino, model)
        hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if self._precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        return self._core.compile_model(model, "CPU", hints).create_infer_request()

    def _read(self) -> Any:
        """Returns the graph with `probabilities` as its only output."""
        ready = self._folder / "openvino" / "model.xml"
        try:
            # `convert_model` gives the same graph but keeps Python's other threads, and so the
            # reader of the first window, from work until it ends (OpenVINO 2026).
            model = self._core.read_model(ready if ready.is_file() else self._folder)
        except (RuntimeError, OSError) as error:
            raise ModelError(f"OpenVINO cannot convert {self._folder}: {error}") from error
        outputs = [o for o in model.outputs if "probabilities" in o.get_names()]
        return self._openvino.Model(outputs, model.get_parameters(), "landcover")


def _deciding(openvino: Any, model: Any) -> Any:
    """Returns the graph with class and confidence as its output, uint8 [..., 2].

    Inside the graph the probabilities share memory with activations; as an output they need
    their own, and more to search them.
    """
    ops = openvino.opset13
    probabilities = model.output(0).get_node().input_value(0)
    best = ops.topk(probabilities, ops.constant(np.int32(1)), -1, "max", "none", "i32")
    levels = ops.multiply(best.output(0), ops.constant(np.float32(LEVELS)))
    confidence = ops.convert(ops.round(levels, "half_to_even"), "u8")
    decision = ops.concat([ops.convert(best.output(1), "u8"), confidence], -1)
    return openvino.Model([decision], model.get_parameters(), "landcover")


def _exact_before_convolutions(openvino: Any, model: Any) -> Any:
    """Returns the graph with more outputs, for which OpenVINO computes its beginning in float32.

    Asked for bfloat16, it keeps to float32 between an output and the convolutions before it, and
    nowhere else (2026.4). So a pixel of what enters the first convolutions becomes an output that
    nobody reads. The stored values have more digits than bfloat16, and the variances of local
    statistics are differences of larger numbers.
    """
    ops, behind, entering = openvino.opset13, set[str](), dict[str, Any]()
    for node in model.get_ordered_ops():
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if not behind.isdisjoint(sources):
            behind.add(node.get_friendly_name())
        elif node.get_type_name() == "Convolution":
            behind.add(node.get_friendly_name())
            entering[sources[0]] = node.input_value(0)
    first, pixel = ops.constant(np.zeros(4, np.int32)), ops.constant(np.ones(4, np.int32))
    unread = [ops.result(ops.slice(v, first, pixel, pixel)) for v in entering.values()]
    return openvino.Model([*model.get_results(), *unread], model.get_parameters(), "landcover")


def _return_freed_memory() -> None:
    """Gives the system what the conversion freed; glibc would keep 250 MiB of a ResNet-50 U-Net."""
    with suppress(AttributeError, OSError, TypeError):  # Other C libraries have no such function.
        ctypes.CDLL(None).malloc_trim(0)
