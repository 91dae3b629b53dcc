"""A dataset of eleven small records that tests read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.small_dataset import BANDS, dataset_info, index_entries, write_shards

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.dataset_shards import SplitInfo
from landcover_tf.datasets.patch_index import PatchEntry, write_index
from landcover_tf.datasets.records import Patch
from landcover_tf.grid import PatchGrid, Window

SIZE = 16
CODES = np.array([0, 10, 20, 30], np.uint8)


def make_patch(number: int, rng: np.random.Generator) -> Patch:
    """Returns a patch whose pixel [0, 0, 0] is 1000 + its number; only patch 3 has class 30."""
    image = rng.integers(1001, 11001, (SIZE, SIZE, len(BANDS))).astype(np.uint16)
    image[0, 0, 0] = 1000 + number
    label = CODES[rng.integers(0, 3, (SIZE, SIZE))]
    label[0, 0] = 10
    if number == 3:
        label[4:6, 4:6] = 30
    validity = np.zeros((SIZE, SIZE), np.uint8)
    validity[-1, :5] = 1
    image[-1, :5] = 0
    validity[-2, :5] = 8
    validity[-3, :5] = 64
    return Patch(
        image=image,
        label=label,
        validity=validity,
        key=f"patch-{number}",
        product="p",
        window=Window(row_off=0, col_off=number * SIZE, height=SIZE, width=SIZE),
        crs="EPSG:32632",
        transform=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0),
        band_names=BANDS,
    )


@pytest.fixture(scope="session")
def patches() -> list[Patch]:
    """Eleven patches, the records of split train; the first three are those of val."""
    rng = np.random.default_rng(0)
    return [make_patch(number, rng) for number in range(11)]


@pytest.fixture(scope="session")
def build(
    tmp_path_factory: pytest.TempPathFactory, patches: list[Patch]
) -> Callable[[str], tuple[DatasetInfo, Path]]:
    """Returns a function from a compression to a dataset of the patches and its folder."""

    def make(compression: str = "none") -> tuple[DatasetInfo, Path]:
        folder = tmp_path_factory.mktemp("dataset")
        parts = {"train": ((0, 4), (4, 9), (9, 9), (9, 11)), "val": ((0, 3),)}
        splits, entries = {}, []
        for split, ranges in parts.items():
            groups = [patches[start:stop] for start, stop in ranges]
            shards = write_shards(folder, split, groups, compression)
            entries += index_entries(split, shards, groups)
            splits[split] = SplitInfo(shards=shards, class_pixels=_totals(entries, split))
        write_index(folder, entries)
        info = dataset_info(
            BandStatistics.empty(BANDS),
            splits,
            normalizer="reflectance",
            patch_grid=PatchGrid(patch_size=SIZE, patch_overlap=4),
            compression=compression,
        )
        info.save(folder)
        return info, folder

    return make


@pytest.fixture(scope="session")
def dataset(build: Callable[[str], tuple[DatasetInfo, Path]]) -> tuple[DatasetInfo, Path]:
    """The uncompressed dataset and its folder."""
    return build("none")


def _totals(entries: list[PatchEntry], split: str) -> dict[int, int]:
    totals: dict[int, int] = {}
    for entry in entries:
        if entry.split == split:
            for code, count in entry.class_pixels.items():
                totals[code] = totals.get(code, 0) + count
    return totals
