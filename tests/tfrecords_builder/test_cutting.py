"""Lengths of records and totals of cut jobs, for as many as a continent has."""

import json
from functools import reduce
from pathlib import Path

import numpy as np
from fakes.traced_memory import peak_bytes

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import BandInfo, ProductInfo
from landcover_tf.grid import PatchGrid, Window
from tfrecords_builder.cutting import CutJob, read_cut, record_length, totals
from tfrecords_builder.patches import SceneJob
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.sources import Source

NAMES = ("B02", "B03")


def cut_jobs(folder, count):
    """Jobs that are done, each with some pixels of its own."""
    scene = SceneJob(
        number=0, rasters=(), first=0, crosswalks=(), fill=0, invalid_bits=1,
        grid=PatchGrid(patch_size=8, patch_overlap=0), folder=folder,
    )  # fmt: skip
    random = np.random.default_rng(0)
    jobs = [CutJob(number=n, scene=scene, patches=(), counted=()) for n in range(count)]
    for job in jobs:
        pixels = random.integers(0, 10_000, (3000, 2)).astype(np.uint16)
        values = {
            "statistics": BandStatistics.from_pixels(pixels, NAMES).to_dict(),
            "class_pixels": {
                split: {"10": job.number, str(20 + job.number % 3): 1} for split in ("train", "val")
            },
            "training_px": [],
        }
        job.path.write_text(json.dumps(values))
    return jobs


def test_totals_are_those_of_all_jobs_merged(tmp_path):
    jobs = cut_jobs(tmp_path, 7)
    found = totals(jobs)
    expected = reduce(BandStatistics.merge, [read_cut(job).statistics for job in jobs])
    assert found.statistics.to_dict() == expected.to_dict()
    # 0 + 1 + ... + 6 of code 10, and one each of the others: jobs 0, 3, 6; 1, 4; 2, 5.
    counts = {10: 21, 20: 3, 21: 2, 22: 2}
    assert found.class_pixels == {"train": counts, "val": counts}


def test_totals_hold_the_counts_of_one_job_at_a_time(tmp_path):
    jobs = cut_jobs(tmp_path, 48)
    few, many = (peak_bytes(lambda n=n: totals(jobs[:n])) for n in (12, 48))
    # Kept all, they took four times as much.
    assert many < 1.5 * few


def test_the_length_of_a_record_takes_no_memory_of_its_size():
    source = Source(
        id="s", image=Path("i.tif"), label=Path("l.tif"), product=ProductInfo(id="s", path="i.tif")
    )
    raster = SourceRaster(
        source=source,
        bands=tuple(BandInfo(name=name, scale=1e-4, offset=0) for name in NAMES),
        indexes=(1, 2), dtype="uint16", nodata=0, label_nodata=0, height=4000, width=4000,
        crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 5e6),
        resolution_m=10.0,
    )  # fmt: skip
    window = Window(row_off=0, col_off=0, height=3000, width=3000)
    pixels = 3000 * 3000
    assert peak_bytes(lambda: record_length(raster, window, "s:0:0")) < 100_000
    assert 0 < record_length(raster, window, "s:0:0") - pixels * (2 * 2 + 1 + 1) < 500
