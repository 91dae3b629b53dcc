"""Any backend, with a log of what went through it for `landcover monitor`."""

from pathlib import Path

import numpy as np

from landcover_tf.accuracy.request_log import RequestLog
from landcover_tf.model_info import ModelInfo
from serving.pipeline import Backend


class Logged:
    """Passes batches on and counts bands and classes; `close` writes the last line."""

    def __init__(self, backend: Backend, info: ModelInfo, path: Path) -> None:
        self._backend = backend
        self._codes = np.full(256, info.legend.nodata, np.uint8)
        self._codes[: len(info.class_codes)] = info.class_codes
        self._log = RequestLog(
            path,
            model=f"{info.name}/{info.version}",
            bands=info.band_names,
            nodata=info.nodata,
            nodata_code=info.legend.nodata,
        )
        self.name = backend.name

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes]."""
        answer = self._backend.probabilities(batch)
        self._count(batch, answer.argmax(axis=-1).astype(np.uint8))
        return answer

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""
        answer = self._backend.decide(batch)
        self._count(batch, answer[..., 0])
        return answer

    def close(self) -> None:
        """Writes what has been counted since the last line."""
        self._log.close()

    def _count(self, batch: np.ndarray, dense: np.ndarray) -> None:
        self._log.add(batch, self._codes[dense])
