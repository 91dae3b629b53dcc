"""The exported SavedModel run by OpenVINO, the fastest engine measured on CPUs."""

from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import ModelError
from landcover_tf.model_info import ModelInfo
from landcover_tf.quiet import import_openvino
from serving.local_model import decide
from serving.options import Precision

KEPT_SHAPES = 2
"""A window and its quarter turn."""


class OpenVinoModel:
    """An export converted in memory and compiled once per input shape."""

    def __init__(self, folder: Path, info: ModelInfo, *, precision: Precision = "float32") -> None:
        """Converts an export.

        Args:
            folder: Version folder of the export.
            info: Its contract.
            precision: `bf16` runs convolutions in bfloat16 where the processor has it.

        Raises:
            ModelError: OpenVINO cannot convert it.
        """
        openvino = import_openvino()
        self.name = f"openvino {precision}"
        self._openvino = openvino
        self._info = info
        self._core = openvino.Core()
        self._hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._model = _converted(openvino, folder)
        except (RuntimeError, OSError) as error:
            raise ModelError(f"OpenVINO cannot convert {folder}: {error}") from error
        self._compiled: dict[tuple[int, ...], Any] = {}

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes]."""
        request = self._request(batch.shape)
        # The result is copied: the request's own buffer is written again by the next batch.
        return np.array(request.infer({0: batch}, share_inputs=True)["probabilities"])

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""
        request = self._request(batch.shape)
        return decide(
            request.infer({0: batch}, share_inputs=True, share_outputs=True)["probabilities"]
        )

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._compiled:
            model = self._model.clone()
            model.reshape({0: list(shape)})
            if len(self._compiled) >= KEPT_SHAPES:
                self._compiled.clear()  # A compiled shape holds its activations' memory.
            compiled = self._core.compile_model(model, "CPU", self._hints)
            self._compiled[shape] = compiled.create_infer_request()
        return self._compiled[shape]


def _converted(openvino: Any, folder: Path) -> Any:
    """Returns the graph with `probabilities` as its only output."""
    ready = folder / "openvino" / "model.xml"
    model = openvino.Core().read_model(ready) if ready.is_file() else None
    if model is None:
        model = openvino.convert_model(str(folder))
    outputs = [o for o in model.outputs if "probabilities" in o.get_names()]
    return openvino.Model(outputs, model.get_parameters(), "landcover")
