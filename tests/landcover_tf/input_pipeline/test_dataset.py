"""The two pipelines give every patch, in reproducible batches, and continue where they stopped."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.grid import PatchGrid
from landcover_tf.input_pipeline import dataset as pipeline
from landcover_tf.input_pipeline.augmentation_settings import PRESETS, AugmentationSettings
from landcover_tf.input_pipeline.cuts import cut_origins
from landcover_tf.input_pipeline.dataset import (
    EpochPlan,
    evaluation_dataset,
    shuffled_patches,
    training_dataset,
)
from landcover_tf.legend import IGNORED

SIZE = 16
VARIED = AugmentationSettings(flip=0.5, jitter=0.5, cutout=0.5)


def numbers(image: np.ndarray) -> list[int]:
    """Returns the numbers of whole, unturned patches, see `make_patch`."""
    return np.rint(image[:, 0, 0, 0] * 1e4).astype(int).tolist()


def batches(dataset, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(islice(dataset.as_numpy_iterator(), count))


def plan(dataset, *, batch_size: int = 4, **settings) -> EpochPlan:
    info, folder = dataset
    return EpochPlan(info=info, folder=folder, batch_size=batch_size, **settings)


def train(dataset, *, seed=1, augmentation=PRESETS["none"], start_epoch=0, start_step=0, **planned):
    return training_dataset(
        plan(dataset, **planned), seed=seed, augmentation=augmentation,
        start_epoch=start_epoch, start_step=start_step,
    )  # fmt: skip


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_evaluation_gives_every_patch_once_in_order(build, patches, compression):
    info, folder = build(compression)
    dataset = evaluation_dataset(info, folder, "train", batch_size=4)
    assert dataset.element_spec[0].shape.as_list() == [None, 16, 16, 4]
    assert dataset.cardinality() == 3
    got = batches(dataset, 99)
    assert [len(image) for image, _ in got] == [4, 4, 3]
    assert [n for image, _ in got for n in numbers(image)] == list(range(11))
    image, label = got[0]
    assert image.dtype == np.float32 and label.dtype == np.uint8
    patch = patches[0]
    expected = patch.image * 1e-4 - 0.1
    expected[-1, :5] = 0
    np.testing.assert_allclose(image[0], expected, atol=1e-6)
    classes = {0: IGNORED, 10: 0, 20: 1, 30: 2}
    dense = np.vectorize(classes.get)(patch.label)
    dense[-2:, :5] = IGNORED  # No data and cloud, but not snow.
    np.testing.assert_array_equal(label[0], dense)


@pytest.mark.parametrize("cuts", [{}, {"patch_size": 8, "patch_overlap": 4}])
def test_large_patches_are_decoded_one_by_one_to_the_same_batches(dataset, monkeypatch, cuts):
    info, folder = dataset

    def read() -> list[tuple[np.ndarray, ...]]:
        given = evaluation_dataset(info, folder, "train", batch_size=4, with_usable=True, **cuts)
        return batches(given, 999)

    together = read()
    monkeypatch.setattr(pipeline, "DECODED_ALONE", 8 * 8 * 4)
    alone = read()
    assert len(alone) == len(together) > 2
    for found, expected in zip(alone, together, strict=True):
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, wanted, strict=True)


def test_usable_pixels_come_on_request(dataset, patches):
    info, folder = dataset
    given = evaluation_dataset(info, folder, "train", batch_size=2, with_usable=True)
    _, label, usable = next(given.as_numpy_iterator())
    # No data in the last row and cloud above; pixels without a label are usable.
    expected = np.ones((16, 16), bool)
    expected[-2:, :5] = False
    np.testing.assert_array_equal(usable, [expected, expected])
    assert (label[usable] == IGNORED).any()


def test_an_epoch_shows_every_patch_once_in_another_order(dataset):
    assert plan(dataset, batch_size=1).steps == 11
    got = [numbers(image)[0] for image, _ in batches(train(dataset, batch_size=1), 22)]
    first, second = got[:11], got[11:]
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second
    assert first != list(range(11))


def test_training_batches_are_full_and_depend_on_the_seed_alone(dataset):
    settings = {"augmentation": VARIED}
    first, again = (batches(train(dataset, **settings), 6) for _ in range(2))
    other = batches(train(dataset, **settings, seed=2), 6)
    for (image, label), (image_again, label_again) in zip(first, again, strict=True):
        assert image.shape == (4, 16, 16, 4)
        np.testing.assert_array_equal(image, image_again)
        np.testing.assert_array_equal(label, label_again)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    "planned",
    [
        {},
        {"oversampling": 0.9},
        {"patch_size": 8},
        {"oversampling": 0.9, "patch_size": 8, "patch_overlap": 2},
        {"batch_size": 25},  # An epoch of one batch, which has patches twice.
    ],
)
def test_resuming_continues_with_the_next_batch(dataset, planned):
    settings = {"augmentation": VARIED, **planned}
    steps = plan(dataset, **planned).steps
    whole = batches(train(dataset, **settings), 3 * steps)
    for start in (1, steps):
        resumed = train(dataset, **settings, start_epoch=1, start_step=start)
        expected = whole[steps + start :]
        for (image, label), (image_again, label_again) in zip(
            expected, batches(resumed, len(expected)), strict=True
        ):
            np.testing.assert_array_equal(image, image_again)
            np.testing.assert_array_equal(label, label_again)


def test_oversampling_repeats_the_rare_class(dataset):
    # Class 30 is in 1 of 11 patches: factor sqrt(1 * 11) = 3.32; the others are in all.
    steps = plan(dataset, batch_size=1, oversampling=1.0).steps
    assert steps == 13  # 10 + 3.32
    epochs = 30
    got = batches(train(dataset, batch_size=1, oversampling=1.0), epochs * steps)
    seen = Counter(numbers(image)[0] for image, _ in got)
    assert seen[3] / epochs == pytest.approx(np.sqrt(11), abs=0.35)
    assert min(seen.values()) > 0.8 * epochs


def test_oversampling_needs_the_index(dataset, tmp_path):
    info, folder = dataset
    for path in folder.glob("*.tfrecord"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DatasetError, match=r"patches\.jsonl"):
        train((info, tmp_path), oversampling=0.5)
    lines = (folder / "patches.jsonl").read_text().splitlines()
    (tmp_path / "patches.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(DatasetError, match="10 patches of split train, which are not the 11"):
        train((info, tmp_path), oversampling=0.5)


def test_fewer_patches_than_a_batch_fill_one(dataset):
    assert plan(dataset, batch_size=25).steps == 1
    image, _ = batches(train(dataset, batch_size=25), 1)[0]
    seen = Counter(numbers(image))
    assert sorted(seen) == list(range(11)) and max(seen.values()) == 3


def test_smaller_patches_are_cut(dataset, patches):
    info, folder = dataset
    # Stride 5: rows 0, 5 and the last one moved back to 16 - 8 = 8.
    size, origins = cut_origins(info.patch_grid, 8, 3)
    assert size == 8
    assert origins.tolist() == [[r, c] for r in (0, 5, 8) for c in (0, 5, 8)]
    got = batches(
        evaluation_dataset(info, folder, "val", batch_size=5, patch_size=8, patch_overlap=3), 99
    )
    assert [len(image) for image, _ in got] == [5, 5, 5, 5, 5, 2]
    image = np.concatenate([image for image, _ in got])
    cut = patches[1].image[5:13, 8:16] * 1e-4 - 0.1
    np.testing.assert_allclose(image[9 + 5], cut, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "size", "overlap", "starts"),
    [
        (100, 96, 0, [2]),  # Four cuts had 92 % of their pixels in common.
        (100, 64, 0, [0, 36]),
        (96, 64, 0, [0, 32]),  # Just half a stride.
        (95, 64, 0, [15]),
        (512, 96, 0, [16, 112, 208, 304, 400]),
        (256, 96, 0, [0, 96, 160]),
        (256, 64, 16, [0, 48, 96, 144, 192]),
    ],
)
def test_a_last_cut_of_few_new_pixels_is_left_out(stored, size, overlap, starts):
    grid = PatchGrid(patch_size=stored, patch_overlap=0)
    _, origins = cut_origins(grid, size, overlap, every_pixel=False)
    assert origins.tolist() == [[row, col] for row in starts for col in starts]
    seen = np.zeros((stored, stored), bool)
    for row, col in cut_origins(grid, size, overlap)[1]:
        seen[row : row + size, col : col + size] = True
    assert seen.all()


def test_single_cuts_lie_elsewhere_in_each_record_and_epoch_and_the_same_after_a_restart(
    dataset, patches
):
    """Of records of 16 px, one cut of 12 px: every margin of 4 px is seen in some epochs."""
    settings = {"patch_size": 12, "batch_size": 11}
    assert plan(dataset, **settings).steps == 1
    got = batches(train(dataset, **settings), 8)
    places = []
    for image, _ in got:
        of_epoch = []
        for cut in image:
            stored = np.rint((cut[..., 1:] + 0.1) * 1e4).astype(int)
            found = {
                (row, col) for patch in patches[:11] for row in range(5) for col in range(5)
                # Pixels without data are 0 in the batch.
                if (patch.image[row : row + 12, col : col + 12, 1:] == stored).mean() > 0.5
            }  # fmt: skip
            assert len(found) == 1
            of_epoch += found
        assert len(set(of_epoch)) > 3
        places += of_epoch
    # The first and the last row lie in a quarter of the cuts each, of uniform shifts in a fifth.
    rows = np.bincount([row for row, _ in places], minlength=5)
    assert rows.min() > 0 and rows[[0, 4]].sum() > 0.4 * len(places)
    again, _ = batches(train(dataset, **settings, start_epoch=5), 1)[0]
    np.testing.assert_array_equal(again, got[5][0])


def test_training_on_cuts_shows_each_once(dataset):
    steps = plan(dataset, patch_size=8).steps
    assert steps == 11
    got = batches(train(dataset, patch_size=8), steps)
    values = np.concatenate([image[:, 2, 2, 1] for image, _ in got])
    assert len(np.unique(values)) > 40  # 44 different cuts; equal random values are possible.


def test_a_batch_of_cuts_mixes_the_records_that_the_buffer_holds(dataset, patches, monkeypatch):
    """Cuts follow their record: a buffer that counts them alone would hold half a record here."""
    monkeypatch.setattr(pipeline, "SHUFFLED_RECORDS", 8)
    image, _ = batches(train(dataset, patch_size=4, batch_size=16), 1)[0]
    # The second band is random, so a value in it tells the record, or a few of them.
    stored = np.rint((image[:, 1, 1, 1] + 0.1) * 1e4).astype(int)
    owners = [{n for n, p in enumerate(patches) if (p.image[..., 1] == v).any()} for v in stored]
    certain = {next(iter(owner)) for owner in owners if len(owner) == 1}
    assert len(certain) >= 4


@pytest.mark.parametrize(
    ("size", "bands", "dtype", "records"),
    [
        (64, 13, "uint16", 512),
        (256, 13, "uint16", 512),  # 1.84 MB each, 0.94 GB together.
        (256, 13, "float32", 303),  # 54 bytes a pixel: 2^30 / 2^16 / 54.
        (512, 13, "uint16", 146),  # 28 bytes a pixel: 2^30 / 2^18 / 28.
        (1024, 13, "uint16", 64),  # 36 fit: too few to mix.
    ],
)
def test_shuffling_holds_512_records_or_a_gibibyte_of_larger_ones(
    dataset, size, bands, dtype, records
):
    info = replace(
        dataset[0],
        patch_grid=PatchGrid(patch_size=size, patch_overlap=0),
        bands=tuple(BandInfo(name=f"b{n}") for n in range(bands)),
        dtype=dtype,
    )
    assert shuffled_patches(info, size) == records
    # Of cuts, those with the same bytes, however much they overlap.
    assert shuffled_patches(info, size // 4) == 16 * records


def test_the_size_of_the_records_decides_how_many_are_shuffled(dataset, monkeypatch):
    def shown() -> list[int]:
        return [numbers(image)[0] for image, _ in batches(train(dataset, batch_size=1), 9)]

    of_512 = shown()
    monkeypatch.setattr(pipeline, "LEAST_SHUFFLED", 1)
    with monkeypatch.context() as fewer:
        fewer.setattr(pipeline, "SHUFFLED_RECORDS", 2)
        of_2 = shown()
    assert of_2 != of_512
    for limit, expected in ((2**30, of_512), (2 * SIZE * SIZE * (4 * 2 + 2), of_2)):
        monkeypatch.setattr(pipeline, "SHUFFLED_BYTES", limit)
        assert shown() == expected


def test_equal_is_no_change_and_larger_is_refused():
    stored = PatchGrid(patch_size=256, patch_overlap=96)
    for size, overlap in ((None, None), (256, None), (256, 96), (256, 0), (None, 10)):
        assert cut_origins(stored, size, overlap)[1].tolist() == [[0, 0]]
    with pytest.raises(ConfigError, match=r"512 px with 96 px overlap.*holds 256 px with 96 px"):
        cut_origins(stored, 512, 96)
    with pytest.raises(ConfigError, match=r"256 px with 128 px.*holds 256 px with 96 px"):
        cut_origins(stored, 256, 128)
    with pytest.raises(ConfigError, match="patch_overlap must be in"):
        cut_origins(stored, 64, 64)


def test_missing_split_and_nan_nodata(dataset):
    info, folder = dataset
    with pytest.raises(DatasetError, match="no split 'test'"):
        evaluation_dataset(info, folder, "test", batch_size=1)
    with_nan = replace(info, nodata=float("nan"))
    image, _ = batches(evaluation_dataset(with_nan, folder, "val", batch_size=1), 1)[0]
    assert image[0, -1, 0, 0] == pytest.approx(-0.1)  # 0 is now a value.
