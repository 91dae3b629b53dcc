"""The chosen patches of a scene, cut into records.

A job reads its rows once, in strips as high as a patch, puts the records into their shards, and
writes what it counted to a file of its own, which comes last and says that the job is done.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.normalizer import outside_reflectance
from landcover_tf.datasets.records import Patch, encode_parts, encoded_bytes
from landcover_tf.grid import PatchGrid, Window
from landcover_tf.system.files import read_json
from landcover_tf.validity import usable
from tfrecords_builder.patches import SceneJob, strips, write_result
from tfrecords_builder.pixels import Pixels, open_raster
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.shards import RecordPlace, ShardWriter

BAND_PX = 24_000_000
"""A larger raster is cut in bands of rows of about so many pixels, each a job of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenPatch:
    """A window that becomes a record."""

    source: int
    window: Window
    key: str
    split: str
    place: RecordPlace


@dataclass(frozen=True, kw_only=True)
class CutJob:
    """Some patches to cut from the sources of one scene job."""

    number: int
    scene: SceneJob
    patches: tuple[ChosenPatch, ...]
    counted: tuple[ChosenPatch, ...]
    """Patches of the job before that reach into the first row of these."""

    @property
    def path(self) -> Path:
        """What was counted."""
        return self.scene.folder / f"cut-{self.number:06d}.json"


@dataclass(frozen=True, kw_only=True)
class CutResult:
    """What `cut` counted."""

    statistics: BandStatistics
    """Usable training pixels, each counted once."""
    class_pixels: dict[str, dict[int, int]]
    """Usable, labelled pixels of each code in each split, each counted once."""
    training_px: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """For each source the pixels in `statistics`, and how many of them each band has outside the
    range of reflectance."""


@dataclass(kw_only=True)
class _Tally:
    """Statistics of one job while it runs."""

    statistics: BandStatistics
    class_pixels: dict[str, np.ndarray] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros(256, np.int64))
    )
    training_px: dict[int, np.ndarray] = field(default_factory=dict)


def cut_jobs(chosen: Iterable[tuple[SceneJob, Sequence[ChosenPatch]]]) -> list[CutJob]:
    """Returns the jobs that cut the chosen patches of all scenes.

    They depend on the input only, never on the number of processes.
    """
    jobs: list[CutJob] = []
    for scene, patches in chosen:

        def band(patch: ChosenPatch, scene: SceneJob = scene) -> tuple[int, int] | None:
            raster = scene.rasters[patch.source - scene.first]
            rows = max(BAND_PX // raster.width, 1)
            return (patch.source, patch.window.row_off // rows) if raster.height > rows else None

        ordered = sorted(patches, key=lambda patch: (patch.source, patch.window))
        for _, members in groupby(ordered, key=band):
            together = tuple(members)
            first = together[0]
            counted = tuple(
                patch
                for patch in ordered
                if patch.source == first.source
                and patch.window.row_off < first.window.row_off < patch.window.row_end
            )
            jobs.append(CutJob(number=len(jobs), scene=scene, patches=together, counted=counted))
    return jobs


def record_length(raster: SourceRaster, window: Window, key: str) -> int:
    """Returns the bytes of the record of a window, whatever it holds."""
    return encoded_bytes(
        key=key,
        product=raster.source.product.id,
        window=window,
        crs=raster.crs,
        transform=raster.patch_transform(window),
        band_names=tuple(band.name for band in raster.bands),
        dtype=raster.dtype,
    )


def cut(job: CutJob) -> None:
    """Puts the records of the chosen patches into their places and writes what they hold."""
    scene = job.scene
    names = [band.name for band in scene.rasters[0].bands]
    tally = _Tally(statistics=BandStatistics.empty(names))
    with ShardWriter() as writer:
        for number in range(len(scene.rasters)):
            chosen = [p for p in job.patches if p.source == scene.first + number]
            for place, patch in _patches(scene, number, chosen, job.counted, tally):
                writer.put(place, encode_parts(patch))
    class_pixels = {
        split: {str(code): int(counts[code]) for code in np.flatnonzero(counts)}
        for split, counts in sorted(tally.class_pixels.items())
    }
    values = {
        "statistics": tally.statistics.to_dict(),
        "class_pixels": class_pixels,
        "training_px": [[source, *px.tolist()] for source, px in tally.training_px.items()],
    }
    write_result(job.path, values)


def read_cut(job: CutJob) -> CutResult:
    """Returns what `cut` wrote for a job."""
    values = read_json(job.path)
    return CutResult(
        statistics=BandStatistics.from_dict(values["statistics"]),
        class_pixels={
            split: {int(code): n for code, n in counts.items()}
            for split, counts in values["class_pixels"].items()
        },
        training_px={source: px for source, *px in values["training_px"]},
    )


def totals(jobs: Iterable[CutJob]) -> CutResult:
    """Returns what all jobs together counted; holds the counts of one at a time."""
    statistics: BandStatistics | None = None
    class_pixels: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    training_px: dict[int, list[int]] = {}
    for job in jobs:
        found = read_cut(job)
        statistics = found.statistics if statistics is None else statistics.merge(found.statistics)
        for split, counts in found.class_pixels.items():
            for code, count in counts.items():
                class_pixels[split][code] += count
        for source, px in found.training_px.items():
            before = training_px.get(source, [0] * len(px))
            training_px[source] = [a + b for a, b in zip(before, px, strict=True)]
    if statistics is None:
        raise ValueError("totals needs a job at least")
    return CutResult(
        statistics=statistics,
        class_pixels={split: dict(counts) for split, counts in class_pixels.items()},
        training_px=training_px,
    )


def _patches(
    job: SceneJob,
    number: int,
    chosen: Sequence[ChosenPatch],
    earlier: Sequence[ChosenPatch],
    tally: _Tally,
) -> Iterator[tuple[RecordPlace, Patch]]:
    """Yields a raster's chosen patches with their places, and keeps the tally."""
    raster = job.rasters[number]
    of_window = {patch.window: patch for patch in chosen}
    if not of_window:
        return
    counted = _Counted(job.grid, raster.width)
    for patch in earlier:
        if patch.source == job.first + number:
            counted.fresh(patch.split, patch.window, [patch])
    with open_raster(raster, job.crosswalks[number], job.fill) as reader:
        for strip, windows in strips(of_window):
            pixels = reader.read(strip)
            if pixels.image is None:
                raise ValueError("reading a strip for cutting must give its image")
            _count(job, number, strip, [of_window[w] for w in windows], pixels, counted, tally)
            for window in windows:
                part = window.relative_to(strip).slices
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

    def fresh(self, split: str, strip: Window, patches: Iterable[ChosenPatch]) -> np.ndarray:
        """Returns which pixels of a strip are in the patches and new to the split; keeps them."""
        before = self._rows_at(split, strip.row_off)[:, strip.col_off : strip.col_end]
        now = np.zeros_like(before)
        for patch in patches:
            now[patch.window.relative_to(strip).slices] = True
        new = now & ~before
        before |= now
        return np.asarray(new)

    def _rows_at(self, split: str, row_off: int) -> np.ndarray:
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
    number: int,
    strip: Window,
    patches: Sequence[ChosenPatch],
    pixels: Pixels,
    counted: _Counted,
    tally: _Tally,
) -> None:
    """Adds the pixels of a strip's patches to the tally, each pixel of a split once."""
    bands = job.rasters[number].bands
    good = usable(pixels.validity, job.invalid_bits)
    for split in sorted({patch.split for patch in patches}):
        chosen = counted.fresh(split, strip, [p for p in patches if p.split == split]) & good
        counts = np.bincount(pixels.label[chosen], minlength=256)
        counts[job.crosswalks[0].target.nodata] = 0
        tally.class_pixels[split] += counts
        if split == "train" and pixels.image is not None:
            rows = pixels.image.reshape(-1, len(bands))
            # What image[chosen] gives, in a tenth of the time.
            found = BandStatistics.from_pixels(
                rows.compress(chosen.ravel(), axis=0), [band.name for band in bands]
            )
            tally.statistics = tally.statistics.merge(found)
            outside = outside_reflectance(
                found, [b.scale for b in bands], [b.offset for b in bands]
            )
            source = job.first + number
            before = tally.training_px.get(source, 0)
            tally.training_px[source] = before + np.array([found.count, *outside])
