"""A log of what was served, small enough to keep: histograms and class counts, no pixels."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import DatasetError, OutputError
from landcover_tf.normalizer import BandStatistics

STEP_PX = 7
"""Every seventh pixel of each axis is counted: neighbours say much the same."""
WINDOWS_PER_LINE = 256


@dataclass(frozen=True, kw_only=True)
class Served:
    """What one or several logs hold."""

    windows: int
    lines: int
    statistics: BandStatistics
    class_pixels: Mapping[int, int]
    """Sampled pixels of each legend code, without no data."""
    models: tuple[str, ...]
    """`name/version` of every model that answered."""
    first_time: str
    """UTC, ISO 8601, as `last_time`."""
    last_time: str


class RequestLog:
    """Appends a line for every few hundred windows; safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        *,
        model: str,
        bands: Sequence[str],
        nodata: float,
        nodata_code: int,
        windows_per_line: int = WINDOWS_PER_LINE,
    ) -> None:
        """Prepares a log.

        Args:
            path: JSON lines; appended to if it exists.
            model: `name/version`.
            bands: Names of the image's bands.
            nodata: Stored value of all bands where there is no data.
            nodata_code: Legend code without class, which is not counted.
            windows_per_line: Windows after which a line is written.
        """
        self._path = path
        self._model = model
        self._bands = tuple(bands)
        self._nodata = nodata
        self._nodata_code = nodata_code
        self._windows_per_line = windows_per_line
        self._lock = threading.Lock()
        self._clear()

    def __enter__(self) -> "RequestLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, images: np.ndarray, classes: np.ndarray) -> None:
        """Counts windows and their answer.

        Args:
            images: Stored values, [batch, height, width, bands].
            classes: Legend codes, uint8 [batch, height, width].
        """
        pixels = images[:, ::STEP_PX, ::STEP_PX].reshape(-1, images.shape[-1])
        codes = classes[:, ::STEP_PX, ::STEP_PX].reshape(-1)
        pixels = pixels[~(pixels == self._nodata).all(axis=1)]
        statistics = BandStatistics.from_pixels(pixels, self._bands)
        counted = Counter(codes[codes != self._nodata_code].tolist())
        with self._lock:
            self._statistics = self._statistics.merge(statistics)
            self._classes.update(counted)
            self._windows += len(images)
            if self._windows >= self._windows_per_line:
                self._write()

    def close(self) -> None:
        """Writes what has not been written."""
        with self._lock:
            if self._windows:
                self._write()

    def _write(self) -> None:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "model": self._model,
            "windows": self._windows,
            "class_pixels": {str(code): n for code, n in sorted(self._classes.items())},
            "statistics": self._statistics.to_dict(),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write call of one line: lines of several processes do not mix.
            with self._path.open("a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write the request log {self._path}: {error}") from error
        self._clear()

    def _clear(self) -> None:
        self._statistics = BandStatistics.empty(self._bands)
        self._classes: Counter[int] = Counter()
        self._windows = 0


def read_log(path: Path) -> Served:
    """Returns the sum of a log's lines.

    Raises:
        DatasetError: It is missing, empty, or a line is not of this format; the line is named.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the request log {path}: {error}") from error
    entries: list[dict[str, Any]] = []
    statistics: BandStatistics | None = None
    class_pixels: Counter[int] = Counter()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            own = BandStatistics.from_dict(entry["statistics"])
            class_pixels.update({int(code): n for code, n in entry["class_pixels"].items()})
            entries.append({key: entry[key] for key in ("time", "model", "windows")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"line {number} of {path} is not of a request log: {error!r}; remove it if the "
                "machine stopped while writing"
            ) from error
        statistics = own if statistics is None else statistics.merge(own)
    if statistics is None:
        raise DatasetError(f"the request log {path} is empty")
    times = sorted(entry["time"] for entry in entries)
    return Served(
        windows=sum(entry["windows"] for entry in entries),
        lines=len(entries),
        statistics=statistics,
        class_pixels=dict(class_pixels),
        models=tuple(sorted({entry["model"] for entry in entries})),
        first_time=times[0],
        last_time=times[-1],
    )
