import json

import numpy as np
import pytest
from builder_inputs import arguments, write_pairs, write_raster
from fakes.traced_memory import peak_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder import audit, content
from tfrecords_builder.__main__ import main as build
from tfrecords_builder.content import fingerprints, shared_fractions


def test_a_spatial_split_is_clean(built, tmp_path, capsys):
    assert audit.main([str(built), "--report", str(tmp_path / "a.json")]) == 0
    assert "no leak between the splits" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["leaks"] == []
    assert found["required_distance_px"] == 32
    assert all(pair["min_distance_px"] >= 32 for pair in found["pairs"])
    for shares in found["class_fractions"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)


def test_a_report_replaces_a_report_and_nothing_else(built, tmp_path, capsys):
    path = tmp_path / "a.json"
    for text in ('{"leaks": []}', "mine"):
        path.write_text(text)
        assert audit.main([str(built), "--report", str(path)]) == 2
        error = capsys.readouterr().err
        assert "a.json is there already and no report of this program, or one that an" in error
        assert path.read_text() == text
    path.unlink()
    for _ in range(2):
        assert audit.main([str(built), "--report", str(path), "--jobs", "1"]) == 0


def test_class_shares_are_those_of_the_records(built):
    found = audit.audit_dataset(built)
    info = DatasetInfo.load(built)
    assert found.records == {name: split.records for name, split in info.splits.items()}
    assert found.class_fractions["train"]["wetlands"] == 0


def test_any_number_of_processes_finds_the_same(built):
    one, two = (audit.audit_dataset(built, min_distance_px=1000, jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert one.leaks


def test_a_greater_distance_can_be_asked(built, capsys):
    assert audit.main([str(built), "--min-distance-px", "1000"]) == 1
    assert "LEAK: train and val come within" in capsys.readouterr().out


def test_a_random_split_leaks_ground_and_content(pairs, tmp_path, capsys):
    flags = ["--split", "random", "--i-know-it-leaks"]
    assert build(arguments(pairs, tmp_path / "o", *flags)) == 0
    assert audit.main([str(tmp_path / "o")]) == 1
    text = capsys.readouterr().out
    assert "LEAK: train and val share ground" in text
    assert "LEAK: train and val share image content" in text


@pytest.mark.parametrize("split", ["blocks", "given", "group"])
def test_groups_in_several_splits_are_told_and_leak(tmp_path, capsys, split):
    """A group column counted for --split group alone, and the audit called the rest clean."""
    write_pairs(tmp_path)
    rows = ["image,label,group,split"]
    for number, (group, given_split) in enumerate([("a", "train"), ("a", "val"), ("b", "test")]):
        rows.append(f"images/s{number}.tif,labels/s{number}.tif,{group},{given_split}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    held_out = ("--test-fraction", "0") if split == "group" else ()
    assert build(arguments(tmp_path, tmp_path / "o", "--split", split, *held_out)) == 0
    told = capsys.readouterr().err
    leaks = audit.audit_dataset(tmp_path / "o").leaks
    if split == "group":
        assert "groups" not in told and leaks == ()
    else:
        count = {"given": 1, "blocks": 2}[split]
        assert f"warning: {count} groups of the input have patches in more than one split" in told
        assert leaks == (f"splits share groups: {count} of the input, for example a",)


def test_overlapping_images_without_crs_are_found_by_content(tmp_path, capsys):
    """Two chips of one scene, 11 rows and 7 columns apart, in two splits."""
    scene = np.random.default_rng(0).integers(0, 3000, (2, 200, 60)).astype(np.int16)
    rows = ["image,label,split"]
    for number, (top, left, split) in enumerate([(0, 0, "train"), (11, 7, "test"), (90, 0, "val")]):
        part = scene[:, top : top + 40, left : left + 40]
        write_raster(tmp_path / f"i{number}.tif", part)
        write_raster(tmp_path / f"l{number}.tif", np.full((40, 40), 10, np.uint8))
        rows.append(f"i{number}.tif,l{number}.tif,{split}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    flags = ["--split", "given", "--bands", "red", "nir", "--scale", "1e-4"]
    flags += ["--patch-size", "40", "--patch-overlap", "0"]
    assert build(arguments(tmp_path, tmp_path / "o", *flags)) == 0
    assert audit.main([str(tmp_path / "o")]) == 1
    assert capsys.readouterr().out.count("LEAK") == 1
    (leak,) = audit.audit_dataset(tmp_path / "o").leaks
    assert leak.startswith("train and test share image content: 2 patches")


def test_fingerprints_do_not_depend_on_the_place_in_the_patch():
    scene = np.random.default_rng(1).integers(0, 60000, (90, 90, 3)).astype(np.uint16)
    valid = np.ones((64, 64), bool)
    first = fingerprints(scene[:64, :64], valid)
    moved = fingerprints(scene[20:84, 5:69], valid)
    other = fingerprints(np.roll(scene, 1, axis=2)[:64, :64], valid)
    # Of 62 x 62 neighbourhoods 42 x 57 are common.
    assert len(np.intersect1d(first, moved)) / len(first) == pytest.approx(
        42 * 57 / 62**2, abs=0.08
    )
    assert not len(np.intersect1d(first, other))
    share, same = shared_fractions([first, moved, other], np.array([0, 1, 1]), 2)
    assert same.tolist() == [[False, True], [True, False], [False, False]]
    assert (share[2] == 0).all()


@pytest.mark.parametrize("noise", [0.5, 1, 3])
def test_images_of_8_bits_are_not_alike_by_chance(noise):
    random = np.random.default_rng(0)

    def scene(size):
        smooth = gaussian_filter(random.normal(0, 300, (size, size)), 20)
        return np.clip(60 + smooth + random.normal(0, noise, (size, size)), 1, 254)

    # 32 patches of another place, and one whose corner of 28 x 28 pixels is in the first of them.
    first, second = (scene(512).astype(np.uint8)[..., None] for _ in range(2))
    valid = np.ones((64, 64), bool)
    corners = [(row, col) for row in range(0, 512, 64) for col in range(0, 256, 64)]
    patches = [first[r : r + 64, c : c + 64] for r, c in corners]
    patches += [second[r : r + 64, c : c + 64] for r, c in corners]
    samples = [fingerprints(patch, valid) for patch in patches]
    split = np.repeat([0, 1], len(corners))
    _, same = shared_fractions(samples, split, 2)
    assert not same.any()
    overlapping = fingerprints(first[36:100, 36:100], valid)
    _, same = shared_fractions([*samples, overlapping], np.append(split, 1), 2)
    assert np.flatnonzero(same[:, 1]).tolist() == [0, 1, 4, 5]
    assert np.flatnonzero(same[:, 0]).tolist() == [64]


@settings(max_examples=40)
@given(
    samples=st.lists(st.sets(st.integers(0, 30), max_size=12), max_size=8),
    split=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    at_once=st.sampled_from([1, 5, 1000]),
)
def test_shared_fractions_are_those_of_sets(samples, split, at_once):
    split = split[: len(samples)]
    arrays = [np.array(sorted(sample), np.uint64) for sample in samples]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "SEARCHED_AT_ONCE", at_once)
        share, _ = shared_fractions(arrays, np.array(split, int), 3)
    for number, sample in enumerate(samples):
        for other in range(3):
            members = [s for s, where in zip(samples, split, strict=True) if where == other]
            known = set().union(*members) if other != split[number] else set()
            assert share[number, other] == len(sample & known) / max(len(sample), 1)


@pytest.mark.parametrize(("common", "told"), [(3, False), (4, True)])
def test_three_fingerprints_in_common_may_be_chance(common, told):
    samples = [np.arange(100, dtype=np.uint64) + np.uint64(i * (100 - common)) for i in (0, 1)]
    assert shared_fractions(samples, np.array([0, 1]), 2)[1].any() == told


def test_fingerprints_are_compared_without_two_more_copies_of_them(monkeypatch):
    random = np.random.default_rng(0)
    samples = [np.sort(random.integers(0, 2**62, 512)).astype(np.uint64) for _ in range(1000)]
    split = np.repeat([0, 1], [700, 300])
    monkeypatch.setattr(content, "SEARCHED_AT_ONCE", 1000 * 512 // 16)
    _, same = shared_fractions(samples, split, 2)
    assert not same.any()
    # 4 MB of fingerprints.
    assert peak_bytes(lambda: shared_fractions(samples, split, 2)) < 2e6


def test_water_and_invalid_pixels_give_no_fingerprint():
    image = np.full((32, 32, 2), 7, np.uint16)
    assert not len(fingerprints(image, np.ones((32, 32), bool)))
    image = np.random.default_rng(0).integers(0, 9000, (32, 32, 2)).astype(np.uint16)
    assert not len(fingerprints(image, np.zeros((32, 32), bool)))
