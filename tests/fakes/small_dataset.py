"""Shards of patches whose classes a small network learns in a few steps."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import BandInfo, DatasetInfo
from landcover_tf.datasets.dataset_shards import ShardInfo, SplitInfo
from landcover_tf.datasets.normalizer import Normalizer, NormalizerKind
from landcover_tf.datasets.patch_index import PatchEntry, write_index
from landcover_tf.datasets.records import Patch, encode
from landcover_tf.datasets.tfrecord import WrittenFile, frame, write_framed
from landcover_tf.grid import PatchGrid, Window
from landcover_tf.legend import LandCoverClass, Legend
from landcover_tf.system.files import sha256_of

BANDS = ("B02", "B03", "B04", "B08")
LEGEND = Legend(
    name="three",
    classes=(
        LandCoverClass(code=10, name="water", color="#0000ff"),
        LandCoverClass(code=20, name="forest", color="#00ff00"),
        LandCoverClass(code=30, name="urban", color="#ff0000"),
    ),
)


def write_small_dataset(
    folder: Path,
    *,
    size: int = 32,
    train: int = 13,
    val: int = 3,
    codes: Sequence[int] = (10, 20, 30),
    seed: int = 0,
) -> DatasetInfo:
    """Writes a dataset of `size` px patches in two training shards and a validation shard.

    Args:
        folder: Where to write; made if needed.
        size: Patch height and width in pixels.
        train: Training patches.
        val: Validation patches.
        codes: Classes that occur, each brightest in a band of its own.
        seed: Decides the pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    patches = [_patch(number, size, codes, rng) for number in range(train + val)]
    parts = {
        "train": [patches[: train // 2], patches[train // 2 : train]],
        "val": [patches[train:]],
    }
    splits, entries = {}, []
    for split, groups in parts.items():
        shards = write_shards(folder, split, groups)
        entries += index_entries(split, shards, groups)
        pixels = np.concatenate([p.label.ravel() for group in groups for p in group] or [[]])
        counts = {code: int((pixels == code).sum()) for code in codes if (pixels == code).any()}
        splits[split] = SplitInfo(shards=shards, class_pixels=counts)
    write_index(folder, entries)
    stored = np.concatenate([p.image.reshape(-1, len(BANDS)) for p in patches])
    info = dataset_info(
        BandStatistics.from_pixels(stored, BANDS),
        splits,
        patch_grid=PatchGrid(patch_size=size, patch_overlap=0),
    )
    info.save(folder)
    return info


def dataset_info(
    statistics: BandStatistics,
    splits: Mapping[str, SplitInfo],
    *,
    normalizer: NormalizerKind = "standardize",
    **changes: Any,
) -> DatasetInfo:
    """Returns the description of a dataset of Sentinel-2's stored values, or one that differs."""
    count = len(statistics.names)
    values = dict(
        name="small",
        bands=tuple(BandInfo(name=name, scale=1e-4, offset=-0.1) for name in statistics.names),
        dtype="uint16",
        nodata=0,
        legend=LEGEND,
        patch_grid=PatchGrid(patch_size=64, patch_overlap=0),
        resolution_m=10.0,
        invalid_bits=0b10111111,
        statistics=statistics,
        normalizer=Normalizer.fit(normalizer, statistics, [1e-4] * count, [-0.1] * count),
        splits=splits,
        products=(),
    )
    return DatasetInfo(**(values | changes))


def write_shards(
    folder: Path, split: str, groups: Sequence[Sequence[Patch]], compression: str = "none"
) -> tuple[ShardInfo, ...]:
    """Writes each group of patches as a shard of the split."""
    shards = []
    for number, group in enumerate(groups):
        path = folder / f"{split}-{number:05d}-of-{len(groups):05d}.tfrecord"
        written = write_shard(path, map(encode, group), compression=compression)
        shards.append(
            ShardInfo(
                file=path.name,
                records=written.records,
                bytes=written.bytes,
                sha256=sha256_of(path),
            )
        )
    return tuple(shards)


def index_entries(
    split: str, shards: Sequence[ShardInfo], groups: Sequence[Sequence[Patch]]
) -> list[PatchEntry]:
    """Returns what the index tells of the patches in shards; each is of a raster of its own."""
    return [
        _entry(patch, split, shard.file, position)
        for shard, group in zip(shards, groups, strict=True)
        for position, patch in enumerate(group)
    ]


def write_shard(
    path: Path, serialized: Iterable[bytes], *, compression: str = "none"
) -> WrittenFile:
    """Writes records to a TFRecord file and returns what was written."""
    framed = (b"".join(frame([record])) for record in serialized)
    return write_framed(path, framed, compression=compression)


def _entry(patch: Patch, split: str, shard: str, position: int) -> PatchEntry:
    usable = (patch.validity & 0b10111111) == 0
    codes, counts = np.unique(patch.label[usable], return_counts=True)
    pixels = {int(c): int(n) for c, n in zip(codes, counts, strict=True) if c}
    return PatchEntry(
        key=patch.key,
        split=split,
        shard=shard,
        position=position,
        product=patch.product,
        group=patch.key,
        row_off=patch.window.row_off,
        col_off=patch.window.col_off,
        crs=patch.crs,
        x=patch.transform[0] * (patch.window.col_off + patch.window.width / 2),
        y=patch.transform[4] * patch.window.height / 2,
        valid_fraction=float(usable.mean()),
        labelled_fraction=sum(pixels.values()) / usable.size,
        class_pixels=pixels,
    )


def _patch(number: int, size: int, codes: Sequence[int], rng: np.random.Generator):
    blocks = rng.choice(codes, (4, 4))
    label = blocks.repeat(size // 4, axis=0).repeat(size // 4, axis=1).astype(np.uint8)
    image = rng.integers(1500, 2500, (size, size, len(BANDS)))
    for band, code in enumerate(LEGEND.codes):
        image[label == code, band] += 2000
    return Patch(
        image=image.astype(np.uint16),
        label=label,
        validity=np.zeros((size, size), np.uint8),
        key=f"patch-{number}",
        product="p",
        window=Window(row_off=0, col_off=number * size, height=size, width=size),
        crs="EPSG:32632",
        transform=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0),
        band_names=BANDS,
    )
