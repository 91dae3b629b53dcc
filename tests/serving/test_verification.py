"""Maps checked against the network without windows."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from local_export import (
    BLEND,
    MARGIN_PX,
    RAW,
    SmallExport,
    arguments,
    predict_options,
    write_raster,
)

from landcover_tf.grid import Window
from serving import layouts
from serving.engines import Engine
from serving.predict import main
from serving.scene_prediction import ScenePrediction
from serving.verification import verify, windowed


def test_verify_finds_exact_mode_exact_and_blending_not(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 300, 200)
    differences = {}
    for mode in ("exact", "blend"):
        out = tmp_path / mode / "map.tif"
        flags = (*RAW, *BLEND, "--mode", mode, "--verify", "--verify-regions", "2")
        assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *flags)) == 0
        found = re.search(r"difference ([0-9.e+-]+), mean", capsys.readouterr().out)
        assert found
        differences[mode] = float(found[1])
    assert differences["exact"] < 1e-5
    assert differences["blend"] > 1e-3


def test_a_margin_that_makes_exact_mode_wrong_is_told(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One window would hold the raster, but without margin small ones cost the same.
    write_raster(tmp_path / "scene.tif", 60, 50)
    for margin, warnings in ((MARGIN_PX, 0), (0, 2)):
        out = tmp_path / str(margin) / "map.tif"
        flags = (*RAW, "--mode", "exact", "--verify", "--margin", str(margin))
        assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *flags)) == 0
        error = capsys.readouterr().err
        assert error.count("warning:") == warnings
    assert f"--margin 0 is less than the {MARGIN_PX} px that make the map" in error
    assert "the map of scene is not what the network gives without windows" in error


@pytest.mark.parametrize(
    "engine",
    [
        "tensorflow",
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
            ),
        ),
    ],
)
def test_verify_measures_what_bfloat16_changes(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    # No larger than a region, so that one region holds every pixel of the map.
    image = write_raster(tmp_path / "scene.tif", 100, 90)
    flags = (*RAW, "--engine", engine, "--precision", "bf16", "--mode", "exact")
    flags += ("--probabilities", "--verify", "--verify-regions", "1")
    assert (
        main(arguments(small_export, [tmp_path / "scene.tif"], tmp_path / "map.tif", *flags)) == 0
    )
    said = capsys.readouterr()
    found = re.search(
        rf"verify: exact, {engine} (\w+) against untiled tensorflow float32 on 9000 px: largest "
        r"probability difference ([0-9.e+-]+), mean [0-9.e+-]+; (\d+) labels differ",
        said.out,
    )
    assert found
    untiled = small_export.untiled(image)
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        stored = np.moveaxis(dataset.read(), 0, -1) / 254
    # Stored levels are rounded to 1/254.
    assert float(found[2]) == pytest.approx(np.abs(stored - untiled).max(), abs=0.5 / 254 + 1e-3)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        codes = np.array(small_export.info.class_codes)[untiled.argmax(axis=-1)]
        assert int(found[3]) == (dataset.read(1) != codes).sum()
        assert dataset.tags()["prediction"] == f"exact, {engine} {found[1]}"
    # OpenVINO takes float32 on a processor without bfloat16; TensorFlow emulates it.
    told = "has no bfloat16 instructions, so the network runs on openvino float32" in said.err
    assert told == (found[1] == "float32") == (float(found[2]) < 1e-4)


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_a_region_is_merged_from_its_own_columns_only(
    small_export: SmallExport, tmp_path: Path, mode: str
) -> None:
    write_raster(tmp_path / "scene.tif", 120, 700)
    room = 144 * 160 * layouts.ACTIVATION_BYTES_PER_PX["tensorflow", "float32"]
    options = predict_options(
        engine="tensorflow",
        mode=mode,
        patch_size=64,
        patch_overlap=32,
        memory_gb=(layouts.ENGINE_BYTES["tensorflow"] + 2 * room) / 2**30,
    )
    engine = Engine(small_export.folder, options.network)
    scene = ScenePrediction(tmp_path / "scene.tif", tmp_path / "map.tif", engine, options)
    assert len(scene.layout.cols) >= 3
    whole = windowed(scene, Window(row_off=0, col_off=0, height=120, width=700))
    for col in (0, 300, 690):
        region = Window(row_off=70, col_off=col, height=50, width=10)
        np.testing.assert_array_equal(windowed(scene, region), whole[region.slices])
    # Two windows of a row meet no other column of the raster.
    two = scene.layout.cols[1].start, scene.layout.cols[2].stop
    predictor = scene.predictor(engine.backend, all_probabilities=True)
    for _, band in predictor.region(range(1), range(1, 3)):
        assert band.shape[1] == two[1] - two[0]
    scene.source.close()


def test_verify_counts_labels_that_were_stored_wrongly(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 100, 90)
    options = predict_options(engine="tensorflow", mode="exact")
    engine = Engine(small_export.folder, options.network)
    scene = ScenePrediction(tmp_path / "scene.tif", tmp_path / "map.tif", engine, options)
    scene.prepare({})
    scene.compute(scene.unfinished_rows())
    # The raster is smaller than a region, so one region holds all of it.
    assert verify(scene, regions=1, seed=0).flips == 0
    stored = scene.store.rows(0, 100, (0, 1))
    stored[0, :30] = (stored[0, :30] + 1) % 5
    scene.store.write(0, stored)
    found = verify(scene, regions=1, seed=0)
    assert (found.pixels, found.flips) == (100 * 90, 30 * 90)
    assert found.largest_difference < 1e-5
    scene.source.close()
