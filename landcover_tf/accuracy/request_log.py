"""A log of finished maps, small enough to keep: histograms and class counts, no pixels."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_tf.band_statistics import BandStatistics
from landcover_tf.errors import DatasetError, OutputError


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a log holds."""

    maps: int
    windows: int
    statistics: BandStatistics
    class_pixels: Mapping[int, int]
    """Pixels of each legend code, without no data."""
    models: tuple[str, ...]
    """`name/version` of every model that answered."""
    first_time: str
    """UTC, ISO 8601, as `last_time`."""
    last_time: str


def append_map(
    path: Path,
    *,
    model: str,
    windows: int,
    class_pixels: Mapping[int, int],
    statistics: BandStatistics,
    run: str = "",
) -> None:
    """Appends one line about a finished map.

    Args:
        path: JSON lines; made if it does not exist.
        model: `name/version` of the model that answered.
        windows: Windows that the map was made of.
        class_pixels: Pixels of each legend code, without no data.
        statistics: A sample of the pixels that got a class, stored units.
        run: What tells the run from others, so that one that was killed after it had written its
            line, and was continued, counts once; may be empty.

    Raises:
        OutputError: The file cannot be written.
    """
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": model,
        "run": run,
        "windows": windows,
        "class_pixels": {str(code): n for code, n in sorted(class_pixels.items())},
        "statistics": statistics.to_dict(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One unbuffered write of one line: lines of several processes do not mix.
        with path.open("ab", buffering=0) as file:
            file.write((json.dumps(line, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write the request log {path}: {error}") from error


def read_log(path: Path) -> Served:
    """Returns the sum of a log's lines; a run counts once.

    Raises:
        DatasetError: It is missing, empty, or a line is not of this format; the line is named.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the request log {path}: {error}") from error
    times: list[str] = []
    models: set[str] = set()
    runs: set[str] = set()
    windows = 0
    statistics: BandStatistics | None = None
    class_pixels: Counter[int] = Counter()
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if (run := entry.get("run", "")) and run in runs:
                continue
            runs.add(run)
            own = BandStatistics.from_dict(entry["statistics"])
            if not np.isfinite(own.std).all():
                raise ValueError("no pixels")
            statistics = own if statistics is None else statistics.merge(own)
            class_pixels.update({int(code): int(n) for code, n in entry["class_pixels"].items()})
            times.append(str(entry["time"]))
            models.add(str(entry["model"]))
            windows += int(entry["windows"])
        except (ValueError, KeyError, TypeError, AttributeError, DatasetError) as error:
            raise DatasetError(
                f"line {number} of {path} is not of this request log: {error}; remove it if the "
                "machine stopped while writing, and keep one log for each model"
            ) from error
    if statistics is None:
        raise DatasetError(f"the request log {path} is empty")
    return Served(
        maps=len(times),
        windows=windows,
        statistics=statistics,
        class_pixels=dict(class_pixels),
        models=tuple(sorted(models)),
        first_time=min(times),
        last_time=max(times),
    )
