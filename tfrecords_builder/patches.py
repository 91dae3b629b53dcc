"""Every possible patch of a scene, looked at in strips as high as a patch."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LandCoverError
from landcover_tf.grid import PatchGrid, Window
from landcover_tf.legend import code_counts
from landcover_tf.system.files import read_json, write_text
from landcover_tf.validity import ValidityBit, has_bit, usable
from tfrecords_builder.incomplete_bands import incomplete_bands
from tfrecords_builder.pixels import Pixels, open_raster
from tfrecords_builder.rasters import SourceRaster

JOB_PX = 1024 * 1024
"""Pixels of small rasters that share a job."""
_Contents = tuple[int, int, float, float, dict[str, int]]
"""First row and column of a window, shares of usable and of labelled pixels, pixels of classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
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


def scene_jobs(
    rasters: Sequence[SourceRaster],
    crosswalks: Sequence[Crosswalk],
    *,
    grid: PatchGrid,
    fill: float,
    invalid_bits: int,
    folder: Path,
) -> list[SceneJob]:
    """Returns jobs that together hold every raster once.

    A large scene is a job; small rasters share one until they hold `JOB_PX` pixels, so that
    a hundred thousand small images do not become as many jobs and files. The cut depends on the
    input only, never on the number of processes.
    """
    sizes = np.cumsum([raster.height * raster.width for raster in rasters])
    jobs = []
    for number, (_, members) in enumerate(
        groupby(range(len(rasters)), key=lambda i: (sizes[i] - 1) // JOB_PX)
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
    write_result(job.scan_path, [_scan_raster(job, number) for number in range(len(job.rasters))])


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the scans of all jobs saw."""

    candidates: list[Candidate]
    problems: list[str]
    unknown_codes: list[tuple[int, ...]]
    """Label codes of each raster that its crosswalk does not know."""
    nodata_px: list[int]
    """Pixels of each raster without data."""
    alike_px: list[dict[float, int]]
    """Other pixels of each raster that hold one value in all bands, by that value."""
    lacking_px: list[dict[int, int]]
    """Pixels of each raster that a single band has no data for, by the band's position."""


def read_scans(jobs: Sequence[SceneJob]) -> Scan:
    """Returns what `scan` wrote for each job, of one raster after the other."""
    candidates, problems, unknown, nodata_px, alike_px, lacking_px = [], [], [], [], [], []
    scenes = ((job, found) for job in jobs for found in read_json(job.scan_path))
    for position, (job, found) in enumerate(scenes):
        problems += [found["problem"]] if found["problem"] else []
        unknown.append(tuple(found["unknown_codes"]))
        nodata_px.append(found["nodata_px"])
        alike_px.append({value: count for value, count in found["alike_px"]})
        lacking_px.append({band: count for band, count in found["lacking_px"]})
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
    return Scan(
        candidates=candidates,
        problems=problems,
        unknown_codes=unknown,
        nodata_px=nodata_px,
        alike_px=alike_px,
        lacking_px=lacking_px,
    )


def _scan_raster(job: SceneJob, number: int) -> dict[str, Any]:
    raster, crosswalk = job.rasters[number], job.crosswalks[number]
    unknown: set[int] = set()
    patches: list[_Contents] = []
    problem = None
    nodata_px = seen_rows = 0
    alike_px: Counter[float] = Counter()
    lacking_px: Counter[int] = Counter()
    try:
        with open_raster(raster, crosswalk, job.fill) as reader:
            for strip, windows in strips(job.grid.windows(raster.height, raster.width)):
                pixels = reader.read(strip, with_image=False)
                unknown |= pixels.unknown_codes
                new = slice(seen_rows - strip.row_off, raster.height - strip.row_off)
                seen_rows = strip.row_end
                has_none = has_bit(pixels.validity[new, : raster.width], ValidityBit.NODATA)
                nodata_px += int(np.count_nonzero(has_none))
                for value, where in pixels.alike.items():
                    alike_px[value] += int(np.count_nonzero(where[new]))
                for band, where in pixels.lacking.items():
                    lacking_px[band] += int(np.count_nonzero(where[new]))
                patches += _strip_contents(job, number, strip, windows, pixels)
    except LandCoverError as error:
        problem = str(error)
    if problem is None and not any(patch[2] for patch in patches):
        hint = "".join(f"; {sentence}" for sentence in incomplete_bands([raster], [lacking_px]))
        problem = f"{raster.source.image} has no usable pixel: all are no data or masked{hint}"
    return {
        "id": raster.source.id,
        "problem": problem,
        "unknown_codes": sorted(unknown),
        "nodata_px": nodata_px,
        "alike_px": list(alike_px.items()),
        "lacking_px": list(lacking_px.items()),
        "patches": patches,
    }


def _strip_contents(
    job: SceneJob, number: int, strip: Window, windows: Sequence[Window], pixels: Pixels
) -> Iterator[_Contents]:
    raster, nodata = job.rasters[number], job.crosswalks[number].target.nodata
    good = usable(pixels.validity, job.invalid_bits)
    codes = np.where(good, pixels.label, np.uint8(nodata))
    for window in windows:
        part = window.relative_to(strip).slices
        inside = window.clip(raster.height, raster.width)
        area = inside.height * inside.width if inside else 1
        counts = code_counts(codes[part], nodata=nodata)
        yield (
            window.row_off,
            window.col_off,
            round(np.count_nonzero(good[part]) / area, 6),
            round(sum(counts.values()) / area, 6),
            {str(code): n for code, n in counts.items()},
        )


def strips(windows: Iterable[Window]) -> Iterator[tuple[Window, list[Window]]]:
    """Yields the windows row by row with the window that holds all of a row."""
    ordered = sorted(windows)
    for row_off, row in groupby(ordered, key=lambda window: window.row_off):
        members = list(row)
        left, right = members[0].col_off, members[-1].col_end
        yield (
            Window(row_off=row_off, col_off=left, height=members[0].height, width=right - left),
            members,
        )


def write_result(path: Path, values: Any) -> None:
    """Writes JSON for the next stage on one line; indenting it would take longer than the scan."""
    write_text(path, json.dumps(values))


def _window(grid: PatchGrid, row_off: int, col_off: int) -> Window:
    return Window(row_off=row_off, col_off=col_off, height=grid.patch_size, width=grid.patch_size)
