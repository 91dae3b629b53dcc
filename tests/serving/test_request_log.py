"""A map's line in the request log, and what `landcover monitor` makes of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from local_export import BANDS, SmallExport, predict_options, write_raster

from landcover_tf import monitor
from landcover_tf.accuracy.request_log import read_log
from landcover_tf.datasets.band_statistics import BandStatistics
from serving.engines import Engine
from serving.map_writing import finish
from serving.predict import main
from serving.scene_prediction import ScenePrediction

FLAGS = ("--engine", "tensorflow", "--no-picture", "--no-stac")


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_maps_are_logged_and_monitored(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    image = write_raster(tmp_path / "scene.tif", 90, 70, nodata_columns=10)
    pixels = image[:, :, 10:].reshape(len(BANDS), -1).T
    export = tmp_path / "export" / "1"
    export.mkdir(parents=True)
    for item in small_export.folder.iterdir():
        (export / item.name).symlink_to(item)
    (export / "model.json").unlink()
    log = tmp_path / "logs" / "requests.jsonl"

    def predict(name: str) -> dict[int, int]:
        out = tmp_path / name / "map.tif"
        paths = ("--input-image", str(tmp_path / "scene.tif"), "--output-map", str(out))
        layout = ("--mode", mode, "--patch-size", "64", "--patch-overlap", "32")
        asked = ("--request-log", str(log))
        assert main(["--model-path", str(export), *paths, *layout, *FLAGS, *asked]) == 0
        with rasterio.open(out) as dataset:
            codes, counts = np.unique(dataset.read(1), return_counts=True)
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))

    def describe(shift: int, fractions: dict[int, float]) -> None:
        statistics = BandStatistics.from_pixels(pixels + np.uint16(shift), BANDS).to_dict()
        shares = {str(code): share for code, share in fractions.items()}
        replace(small_export.info, statistics=statistics, class_fractions=shares).save(export)

    describe(0, {})
    counted = predict("first")
    assert counted.pop(0) == 90 * 10
    assert predict("second").keys() == {0, *counted}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["model"] for line in lines] == ["small/1"] * 2
    info = small_export.info
    for line in lines:
        assert line["data_hash"] == info.data_hash and len(line["model_sha256"]) == 64
        assert line["legend"] == {"name": info.legend.name, "codes": list(info.legend.codes)}
        assert line["class_pixels"] == {str(code): n for code, n in counted.items()}
        # The lattice of so small a raster is every pixel.
        assert line["statistics"]["count"] == 90 * 60
        means = [band["mean"] for band in line["statistics"]["bands"].values()]
        np.testing.assert_allclose(means, pixels.mean(axis=0))

    def monitored() -> int:
        return monitor.main(["--requests", str(log), "--reference", str(export)])

    describe(0, {code: n / 5400 for code, n in counted.items()})
    assert monitored() == 0
    found = json.loads((log.parent / "monitor.json").read_text())
    assert found["maps"] == 2 and found["class_shift"] == 0
    assert max(band["stability_index"] for band in found["bands"]) == 0
    describe(3000, {code: n / 5400 for code, n in counted.items()})
    assert monitored() == 1
    assert "over the limit: band B02 has stability index" in capsys.readouterr().out


def test_a_map_without_data_is_not_logged(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40, nodata_columns=40)
    paths = ("--input-image", str(tmp_path / "scene.tif"), "--output-map", str(tmp_path / "m.tif"))
    asked = ("--request-log", str(tmp_path / "requests.jsonl"))
    assert main(["--model-path", str(small_export.folder), *paths, *FLAGS, *asked]) == 0
    assert not (tmp_path / "requests.jsonl").exists()


def test_a_log_that_cannot_be_written_is_named(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    (tmp_path / "file").write_text("")
    paths = ("--input-image", str(tmp_path / "scene.tif"), "--output-map", str(tmp_path / "m.tif"))
    asked = ("--request-log", str(tmp_path / "file" / "requests.jsonl"))
    assert main(["--model-path", str(small_export.folder), *paths, *FLAGS, *asked]) == 2
    assert "cannot write the request log" in capsys.readouterr().err


def test_a_file_that_is_no_log_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    notes, out = tmp_path / "notes.md", tmp_path / "out" / "map.tif"
    notes.write_text("# Notes\n")
    paths = ("--input-image", str(tmp_path / "scene.tif"), "--output-map", str(out))
    command = ["--model-path", str(small_export.folder), *paths, *FLAGS, "--request-log"]
    assert main([*command, str(notes)]) == 2
    assert "notes.md is there and its first line is not of a request log" in capsys.readouterr().err
    assert notes.read_text() == "# Notes\n" and not out.parent.exists()
    assert main([*command, str(tmp_path / "scene.tif")]) == 2


def test_a_run_that_was_killed_after_its_line_counts_once(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    log, out = tmp_path / "log.jsonl", tmp_path / "out" / "map.tif"
    options = predict_options(engine="tensorflow", picture=False, stac=False, request_log=log)

    def scene() -> ScenePrediction:
        engine = Engine(small_export.folder, options.network)
        found = ScenePrediction(tmp_path / "scene.tif", out, engine, options)
        found.prepare({}, replace=True)
        found.compute(found.unfinished_rows())
        return found

    first = scene()
    shutil.copytree(first.work, tmp_path / "kept")
    finish(first)
    shutil.copytree(tmp_path / "kept", first.work)  # As if it had not come to remove it.
    finish(scene())
    assert len(log.read_text().splitlines()) == 2
    assert read_log(log).maps == 1
    assert sum(read_log(log).class_pixels.values()) == 1600
    shutil.rmtree(out.parent)
    finish(scene())
    served = read_log(log)
    assert (served.maps, served.superseded) == (1, 1)
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["source"].startswith("scene.tif of 20") and line["map"] == str(out)
