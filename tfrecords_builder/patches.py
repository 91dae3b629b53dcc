"""The two jobs of a scene: look at every possible patch, then cut the chosen ones.

Both read a scene once, in strips as high as a patch, and write their result to files of their
own; the JSON file comes last and says that the job is done.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.errors import LandCoverError
from landcover_tf.files import atomic_path, read_json
from landcover_tf.grid import PatchGrid, Window
from landcover_tf.legend import Crosswalk
from landcover_tf.normalizer import BandStatistics
from landcover_tf.records import Patch, encode_parts, encoded_bytes
from tfrecords_builder.rasters import Pixels, SourceRaster, open_raster
from tfrecords_builder.shards import RecordPlace, ShardWriter


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A window that may become a patch."""

    source: int
    """Position of its raster in the list of all rasters."""
    window: Window
    valid_fraction: float
    labelled_fraction: float
    class_pixels: dict[int, int]
    """Usable pixels of each legend code."""


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """Some sources that one process works through."""

    number: int
    rasters: tuple[SourceRaster, ...]
    first: int
    """Position of the first raster in the list of all rasters."""
    crosswalks: tuple[Crosswalk, ...]
    """One for each raster."""
    fill: float
    """The dataset's no-data value."""
    invalid_bits: int
    grid: PatchGrid
    folder: Path
    """Where results go."""

    @property
    def scan_path(self) -> Path:
        """Result of `scan`."""
        return self.folder / f"scan-{self.number:06d}.json"

    @property
    def cut_path(self) -> Path:
        """Result of `cut`: statistics and class pixels."""
        return self.folder / f"cut-{self.number:06d}.json"


@dataclass(frozen=True, kw_only=True)
class ChosenPatch:
    """A window that becomes a record."""

    source: int
    window: Window
    key: str
    split: str
    place: RecordPlace


@dataclass(frozen=True, kw_only=True)
class CutJob:
    """The patches to cut from the sources of one scene job."""

    scene: SceneJob
    patches: tuple[ChosenPatch, ...]


@dataclass(frozen=True, kw_only=True)
class CutResult:
    """What `cut` counted."""

    statistics: BandStatistics
    """Usable training pixels, each counted once."""
    class_pixels: dict[str, dict[int, int]]
    """Usable pixels of each code in each split, each counted once."""


@dataclass(kw_only=True)
class _Tally:
    """Statistics of one job while it runs."""

    statistics: BandStatistics
    class_pixels: dict[str, np.ndarray] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(256, np.int64))
    )


def scene_jobs(
    rasters: Sequence[SourceRaster],
    crosswalks: Sequence[Crosswalk],
    *,
    grid: PatchGrid,
    fill: float,
    invalid_bits: int,
    folder: Path,
    budget_px: int = 1024 * 1024,
) -> list[SceneJob]:
    """Returns jobs that together hold every raster once.

    A large scene is a job; small rasters share one until they hold `budget_px` pixels, so that
    a hundred thousand small images do not become as many jobs and files. The cut depends on the
    input only, never on the number of processes.
    """
    sizes = np.cumsum([raster.height * raster.width for raster in rasters])
    jobs = []
    for number, (_, members) in enumerate(
        groupby(range(len(rasters)), key=lambda i: (sizes[i] - 1) // budget_px)
    ):
        chosen = list(members)
        jobs.append(
            SceneJob(
                number=number,
                first=chosen[0],
                rasters=tuple(rasters[i] for i in chosen),
                crosswalks=tuple(crosswalks[i] for i in chosen),
                fill=fill,
                invalid_bits=invalid_bits,
                grid=grid,
                folder=folder,
            )
        )
    return jobs


def scan(job: SceneJob) -> None:
    """Writes what every window of the patch grid holds; reads no image where it can."""
    _write(job.scan_path, [_scan_raster(job, number) for number in range(len(job.rasters))])


def read_scan(job: SceneJob) -> tuple[list[Candidate], list[str], list[tuple[int, ...]]]:
    """Returns a scene job's candidates, problems, and unknown label codes of each raster."""
    candidates, problems, unknown = [], [], []
    for position, found in enumerate(read_json(job.scan_path), start=job.first):
        problems += [found["problem"]] if found["problem"] else []
        unknown.append(tuple(found["unknown_codes"]))
        for row_off, col_off, valid, labelled, pixels in found["patches"]:
            candidates.append(
                Candidate(
                    source=position,
                    window=_window(job.grid, row_off, col_off),
                    valid_fraction=valid,
                    labelled_fraction=labelled,
                    class_pixels={int(code): n for code, n in pixels.items()},
                )
            )
    return candidates, problems, unknown


def record_length(raster: SourceRaster, window: Window, key: str) -> int:
    """Returns the bytes of the record of a window, whatever it holds."""
    shape = window.height, window.width
    empty = np.broadcast_to(np.zeros((), raster.dtype), (*shape, len(raster.bands)))
    unknown = np.broadcast_to(np.uint8(0), shape)
    return encoded_bytes(_patch(raster, window, key, empty, unknown, unknown))


def cut(job: CutJob) -> None:
    """Puts the records of the chosen patches into their places and writes what they hold."""
    scene = job.scene
    names = [band.name for band in scene.rasters[0].bands]
    tally = _Tally(statistics=BandStatistics.empty(names))
    with ShardWriter() as writer:
        for number in range(len(scene.rasters)):
            chosen = [p for p in job.patches if p.source == scene.first + number]
            for place, patch in _patches(scene, number, chosen, tally):
                writer.put(place, encode_parts(patch))
    class_pixels = {
        split: {str(code): int(counts[code]) for code in np.flatnonzero(counts)}
        for split, counts in sorted(tally.class_pixels.items())
    }
    values = {"statistics": tally.statistics.to_dict(), "class_pixels": class_pixels}
    _write(scene.cut_path, values)


def read_cut(job: SceneJob) -> CutResult:
    """Returns what `cut` wrote for a scene job."""
    values = read_json(job.cut_path)
    return CutResult(
        statistics=BandStatistics.from_dict(values["statistics"]),
        class_pixels={
            split: {int(code): n for code, n in counts.items()}
            for split, counts in values["class_pixels"].items()
        },
    )


def _scan_raster(job: SceneJob, number: int) -> dict[str, Any]:
    raster, crosswalk = job.rasters[number], job.crosswalks[number]
    unknown: set[int] = set()
    patches: list[tuple[int, int, float, float, dict[str, int]]] = []
    problem = None
    try:
        with open_raster(raster, crosswalk, job.fill) as reader:
            for strip, windows in _strips(job.grid.windows(raster.height, raster.width)):
                pixels = reader.read(strip, with_image=False)
                unknown |= pixels.unknown_codes
                usable = (pixels.validity & np.uint8(job.invalid_bits)) == 0
                codes = np.where(usable, pixels.label, np.uint8(crosswalk.target.nodata))
                for window in windows:
                    part = _inside(window, strip)
                    inside = window.clip(raster.height, raster.width)
                    area = inside.height * inside.width if inside else 1
                    counts = np.bincount(codes[part].ravel(), minlength=256)
                    counts[crosswalk.target.nodata] = 0
                    patches.append(
                        (
                            window.row_off,
                            window.col_off,
                            round(np.count_nonzero(usable[part]) / area, 6),
                            round(int(counts.sum()) / area, 6),
                            {str(code): int(counts[code]) for code in np.flatnonzero(counts)},
                        )
                    )
    except LandCoverError as error:
        problem = str(error)
    if problem is None and not any(patch[2] for patch in patches):
        problem = f"{raster.source.image} has no usable pixel: all are no data or masked"
    return {
        "id": raster.source.id,
        "problem": problem,
        "unknown_codes": sorted(unknown),
        "patches": patches,
    }


def _patches(
    job: SceneJob, number: int, chosen: Sequence[ChosenPatch], tally: _Tally
) -> Iterator[tuple[RecordPlace, Patch]]:
    """Yields a raster's chosen patches with their places, and keeps the tally."""
    raster = job.rasters[number]
    of_window = {patch.window: patch for patch in chosen}
    if not of_window:
        return
    counted = _Counted(job.grid, raster.width)
    with open_raster(raster, job.crosswalks[number], job.fill) as reader:
        for strip, windows in _strips(of_window):
            pixels = reader.read(strip)
            if pixels.image is None:
                raise ValueError("reading a strip for cutting must give its image")
            _count(job, raster, strip, [of_window[w] for w in windows], pixels, counted, tally)
            for window in windows:
                part = _inside(window, strip)
                wanted = of_window[window]
                yield (
                    wanted.place,
                    _patch(
                        raster,
                        window,
                        wanted.key,
                        pixels.image[part],
                        pixels.label[part],
                        pixels.validity[part],
                    ),
                )


def _patch(
    raster: SourceRaster,
    window: Window,
    key: str,
    image: np.ndarray,
    label: np.ndarray,
    validity: np.ndarray,
) -> Patch:
    return Patch(
        image=image,
        label=label,
        validity=validity,
        key=key,
        product=raster.source.product.id,
        window=window,
        crs=raster.crs,
        transform=raster.patch_transform(window),
        band_names=tuple(band.name for band in raster.bands),
    )


class _Counted:
    """Remembers, for the rows in reach, which pixels each split has counted already."""

    def __init__(self, grid: PatchGrid, width: int) -> None:
        self._shape = (grid.patch_size, grid.count(width) * grid.stride + grid.patch_overlap)
        self._rows: dict[str, np.ndarray] = {}
        self._row_off: dict[str, int] = {}

    def rows(self, split: str, row_off: int) -> np.ndarray:
        """Returns the flags of the patch-high strip at `row_off`, bool [patch_size, width]."""
        if split not in self._rows:
            self._rows[split], self._row_off[split] = np.zeros(self._shape, bool), row_off
        rows = self._rows[split]
        shift = row_off - self._row_off[split]
        if shift:
            kept = max(len(rows) - shift, 0)
            rows[:kept] = rows[len(rows) - kept :]
            rows[kept:] = False
            self._row_off[split] = row_off
        return rows


def _count(
    job: SceneJob,
    raster: SourceRaster,
    strip: Window,
    patches: Sequence[ChosenPatch],
    pixels: Pixels,
    counted: _Counted,
    tally: _Tally,
) -> None:
    """Adds the pixels of a strip's patches to the tally, each pixel of a split once."""
    usable = (pixels.validity & np.uint8(job.invalid_bits)) == 0
    for split in sorted({patch.split for patch in patches}):
        before = counted.rows(split, strip.row_off)
        before = before[:, strip.col_off : strip.col_end]
        now = np.zeros_like(before)
        for patch in patches:
            if patch.split == split:
                now[_inside(patch.window, strip)] = True
        fresh = now & ~before
        before |= now
        chosen = fresh & usable
        tally.class_pixels[split] += np.bincount(pixels.label[chosen], minlength=256)
        if split == "train" and pixels.image is not None:
            found = BandStatistics.from_pixels(
                pixels.image[chosen], [band.name for band in raster.bands]
            )
            tally.statistics = tally.statistics.merge(found)


def _strips(windows: Iterable[Window]) -> Iterator[tuple[Window, list[Window]]]:
    """Yields the windows row by row with the window that holds all of a row."""
    ordered = sorted(windows)
    for row_off, row in groupby(ordered, key=lambda window: window.row_off):
        members = list(row)
        left, right = members[0].col_off, members[-1].col_end
        yield (
            Window(row_off=row_off, col_off=left, height=members[0].height, width=right - left),
            members,
        )


def _inside(window: Window, strip: Window) -> tuple[slice, slice]:
    left = window.col_off - strip.col_off
    return slice(None), slice(left, left + window.width)


def _write(path: Path, values: Any) -> None:
    """Writes JSON for the next stage on one line; indenting it would take longer than the scan."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values))


def _window(grid: PatchGrid, row_off: int, col_off: int) -> Window:
    return Window(row_off=row_off, col_off=col_off, height=grid.patch_size, width=grid.patch_size)
