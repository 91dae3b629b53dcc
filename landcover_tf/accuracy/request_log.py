"""A log of finished maps, small enough to keep: histograms and class counts, no pixels."""

import errno
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import date, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import DatasetError, OutputError

MALFORMED = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, DatasetError,
)  # fmt: skip
"""What reading a damaged line ends in."""


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """What a log tells of a model that answered."""

    name: str
    """`name/version`."""
    sha256: str
    """SHA-256 of all that decides its maps, as in their tag `model_sha256`."""
    data_hash: str
    """Hash of the training data; empty where the model does not know it."""
    legend: str
    """Name of the legend."""
    codes: tuple[int, ...]
    """Class codes of the legend, in order."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a log holds."""

    maps: int
    superseded: int
    """Maps that were made again; the last of each counts."""
    windows: int
    sampled_pixels: int
    statistics: BandStatistics
    """Every map's sample, repeated to as many pixels as the map has, so that large maps count more
    than small ones, as in `class_pixels`."""
    class_pixels: Mapping[int, int]
    """Pixels of each legend code, without no data."""
    models: tuple[LoggedModel, ...]
    """Every model that answered."""
    first_time: str
    """UTC, ISO 8601, as `last_time`."""
    last_time: str


def append_map(
    path: Path,
    *,
    model: LoggedModel,
    windows: int,
    class_pixels: Mapping[int, int],
    statistics: BandStatistics,
    sample_step: int,
    run: str,
    source: str,
    sensing_time: str | None,
    map_path: str,
) -> None:
    """Appends one line about a finished map.

    Args:
        path: JSON lines; made if it does not exist.
        model: The model that answered.
        windows: Windows that the map was made of.
        class_pixels: Pixels of each legend code, without no data.
        statistics: A sample of the pixels that got a class, stored units.
        sample_step: Distance in pixels between sampled rows, and columns.
        run: What tells the run from others, so that one that was killed after it had written its
            line, and was continued, counts once.
        source: What the map was made of, by a name that no other image has.
        sensing_time: When the source was sensed, ISO 8601, where it tells.
        map_path: Where the map is. One that is made again from the same source replaces the one
            before it.

    Raises:
        OutputError: The file cannot be written.
    """
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": model.name,
        "model_sha256": model.sha256,
        "data_hash": model.data_hash,
        "legend": {"name": model.legend, "codes": model.codes},
        "run": run,
        "source": source,
        "sensing_time": sensing_time,
        "map": map_path,
        "windows": windows,
        "class_pixels": {str(code): n for code, n in sorted(class_pixels.items())},
        "sample_step": sample_step,
        "statistics": statistics.to_dict(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, (json.dumps(line, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write the request log {path}: {error}") from error


def _append(path: Path, line: bytes) -> None:
    """Appends a whole line or nothing."""
    # One unbuffered write of one line: lines of several processes do not mix.
    with path.open("a+b", buffering=0) as file:
        if file.seekable() and file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # A machine that went down leaves a piece of a line, which would take this one with it.
            line = line if file.read(1) == b"\n" else b"\n" + line
        written = file.write(line)
        if written < len(line):
            end = file.tell()
            if os.fstat(file.fileno()).st_size == end:  # Nobody has written behind it.
                file.truncate(end - written)
            raise OSError(errno.ENOSPC, f"the disk took {written} of {len(line)} bytes")


def require_log(path: Path) -> None:
    """Refuses a file that is there and is no request log.

    Raises:
        OutputError: Its first line is not of this format.
    """
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if first:
            _read_line(first)
    except MALFORMED as error:
        raise OutputError(
            f"--request-log {path} is there and its first line is not of a request log: {error}; "
            "name another file, or remove that line if the machine stopped while writing"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot read the request log {path}: {error}") from error


def logged_maps(path: Path) -> set[str]:
    """Returns the paths of the maps that a log has lines of; none of a log that is not there."""
    if not path.is_file():
        return set()
    found = set()
    for text in path.read_text(errors="replace").splitlines():
        with suppress(*MALFORMED):  # A piece of a line, which a machine that went down left.
            found.add(str(json.loads(text)["map"]))
    return found


def read_log(path: Path, start: date | None = None, end: date | None = None) -> Served:
    """Returns the sum of a log's lines; a run counts once, and of a map made again the last.

    Args:
        path: Written by `append_map`.
        start: First day wanted, UTC, on which the source was sensed; where that is unknown, on
            which the map was made last.
        end: Last day wanted.

    Raises:
        DatasetError: It is missing, holds no map of these days, or a line is not of this format;
            the line is named.
    """
    lines = _read_lines(path)
    latest: dict[tuple[str, str], _Line] = {}
    superseded: Counter[tuple[str, str]] = Counter()
    for line in lines:
        before = latest.pop(line.place, None)
        superseded[line.place] += before is not None and before.run != line.run
        latest[line.place] = line
    days = {place: line.sensed or line.made for place, line in latest.items()}
    wanted = [place for place, day in days.items() if (start or day) <= day <= (end or day)]
    if not wanted:
        raise DatasetError(
            f"the request log {path} has no map of {start or 'any day'} to {end or 'any day'}, but "
            f"of {min(days.values())} to {max(days.values())}"
        )
    return _sum([latest[place] for place in wanted], sum(superseded[place] for place in wanted))


def _read_lines(path: Path) -> "list[_Line]":
    try:
        texts = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the request log {path}: {error}") from error
    if not texts:
        raise DatasetError(f"the request log {path} is empty")
    lines: list[_Line] = []
    for number, text in enumerate(texts, start=1):
        try:
            line = _read_line(text)
            if lines:  # So that one of other bands is named by its number.
                lines[0].statistics.require_bands(line.statistics.names)
        except MALFORMED as error:
            raise DatasetError(
                f"line {number} of {path} is not of this request log: {error}; remove it if the "
                "machine stopped while writing, and keep one log for each model"
            ) from error
        lines.append(line)
    return lines


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What a line tells."""

    place: tuple[str, str]
    """Source and map."""
    run: str
    time: str
    made: date
    sensed: date | None
    """None where the source does not tell."""
    model: LoggedModel
    windows: int
    class_pixels: Mapping[int, int]
    statistics: BandStatistics
    sample_step: int


def _read_line(text: str) -> _Line:
    entry = json.loads(text)
    statistics = BandStatistics.from_dict(entry["statistics"])
    if not np.isfinite(statistics.std).all():
        raise ValueError("no pixels")
    return _Line(
        place=(str(entry["source"]), str(entry["map"])),
        run=str(entry["run"]),
        time=str(entry["time"]),
        made=_day(entry["time"]),
        sensed=None if entry["sensing_time"] is None else _day(entry["sensing_time"]),
        model=_model(entry),
        windows=_count(entry["windows"]),
        class_pixels={int(c): _count(n) for c, n in entry["class_pixels"].items()},
        statistics=statistics,
        sample_step=_count(entry["sample_step"], least=1),
    )


def _sum(lines: list[_Line], superseded: int) -> Served:
    class_pixels: Counter[int] = Counter()
    for line in lines:
        class_pixels.update(line.class_pixels)
    times = [line.time for line in lines]
    return Served(
        maps=len(lines),
        superseded=superseded,
        windows=sum(line.windows for line in lines),
        sampled_pixels=sum(line.statistics.count for line in lines),
        statistics=reduce(
            BandStatistics.merge,
            (line.statistics.repeated(line.sample_step**2) for line in lines),
        ),
        class_pixels=dict(class_pixels),
        models=tuple(sorted({line.model for line in lines}, key=astuple)),
        first_time=min(times),
        last_time=max(times),
    )


def _day(time: object) -> date:
    return datetime.fromisoformat(str(time)).date()


def _count(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"expected a count of {least} or more, got {value!r}")
    return value


def _model(entry: Mapping[str, Any]) -> LoggedModel:
    return LoggedModel(
        name=str(entry["model"]),
        sha256=str(entry["model_sha256"]),
        data_hash=str(entry["data_hash"]),
        legend=str(entry["legend"]["name"]),
        codes=tuple(int(code) for code in entry["legend"]["codes"]),
    )
