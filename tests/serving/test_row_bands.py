"""What a killed run or a machine that went down leaves of row bands."""

import json
from pathlib import Path

import numpy as np
import pytest

from landcover_tf.errors import OutputError
from serving.row_bands import SETTINGS_FILE, BandStore

SETTINGS = {"model": "a", "source": ["scene.tif", 1, 2]}


def prepare(store: BandStore) -> None:
    store.prepare(SETTINGS, overwrite=False, same_source=lambda _: False)


def filled(folder: Path) -> BandStore:
    """Returns a store of two bands, both finished, each with a sample."""
    store = BandStore(folder, ("class", "confidence"), [(0, 2), (2, 5)])
    prepare(store)
    for band, rows in enumerate((2, 3)):
        store.write(band, np.full((2, rows, 4), band, np.uint8))
        store.write_sample(band, np.full((3, 2), band, np.uint16))
    return store


@pytest.mark.parametrize("length", [0, 90, 135])
def test_emptied_and_cut_files_count_as_absent(tmp_path: Path, length: int) -> None:
    store = filled(tmp_path / "bands")
    for name in ("band_00001.*.npy", "sample_00001.*.npy"):
        (file,) = store.folder.glob(name)
        assert file.stat().st_size > length
        file.write_bytes(file.read_bytes()[:length])
    prepare(store)
    assert [store.finished(0), store.finished(1)] == [True, False]
    assert store.sample(1) is None
    assert len(store.samples()) == 1


def test_a_changed_layout_is_told_without_its_windows(tmp_path: Path) -> None:
    rows = [[start, 256] for start in range(0, 5000, 64)]
    store = filled(tmp_path / "bands")
    layouts = [{"mode": "exact", "rows": rows}, {"mode": "blend", "rows": rows[1:]}]
    before, now = ({**SETTINGS, "layout": layout} for layout in layouts)
    (store.folder / SETTINGS_FILE).write_text(json.dumps(before))
    told = r"\(layout mode \(was exact, now blend\), other windows, by --memory-gb or --margin\)"
    with pytest.raises(OutputError, match=told):
        store.prepare(now, overwrite=False, same_source=lambda _: False)


@pytest.mark.parametrize("text", ["", '{"model"', "[]"])
def test_bands_of_unknown_settings_are_dropped(tmp_path: Path, text: str) -> None:
    store = filled(tmp_path / "bands")
    (store.folder / SETTINGS_FILE).write_text(text)
    prepare(store)
    assert [store.finished(0), store.finished(1)] == [False, False]
    store.write(0, np.zeros((2, 2, 4), np.uint8))
    prepare(store)
    assert store.finished(0)


def test_a_worker_of_a_replaced_run_adds_nothing_to_the_new_one(tmp_path: Path) -> None:
    folder, layers, bands = tmp_path / "bands", ("class", "confidence"), [(0, 2), (2, 5)]
    client, worker = BandStore(folder, layers, bands), BandStore(folder, layers, bands)
    prepare(client)
    worker.require(SETTINGS)
    worker.write(0, np.zeros((2, 2, 4), np.uint8))
    assert client.finished(0)
    new = BandStore(folder, layers, bands)
    new.prepare({"model": "b"}, overwrite=True, same_source=lambda _: False)
    for write in (
        lambda: worker.write(1, np.zeros((2, 3, 4), np.uint8)),
        lambda: worker.write_sample(1, np.zeros((3, 2), np.uint16)),
    ):
        with pytest.raises(OutputError, match="another has begun or finished the map"):
            write()
    # What was on its way when the other run began comes late, under a name of its own.
    (folder / worker._path(1).name).write_bytes(b"late")
    assert [new.finished(0), new.finished(1)] == [False, False]
    new.remove()
    with pytest.raises(OutputError, match="another has begun or finished the map"):
        worker.write(1, np.zeros((2, 3, 4), np.uint8))
    assert not folder.exists()
