"""`serving.predict --server` against the double, beside the local engine."""

import re
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.model_server import ModelServer
from fakes.small_export import write_small_export
from local_export import predict_options, write_raster
from real_server import RealServer

from serving.engines import Engine
from serving.predict import main
from serving.scene_prediction import ScenePrediction

FLAGS = ("--mode", "blend", "--patch-size", "64", "--patch-overlap", "32", "--batch-size", "3",
         "--min-object-size", "0", "--no-picture")  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tf_serving: RealServer | None) -> Path:
    if tf_serving is not None:
        return tf_serving.model_folder
    folder = tmp_path_factory.mktemp("served")
    write_small_export(folder)
    return folder / "landcover"


def predict(model: Path, folder: Path, *flags: str) -> int:
    if not (folder / "scene.tif").exists():
        write_raster(folder / "scene.tif", 150, 110, nodata_columns=20)
    paths = ("--input-image", str(folder / "scene.tif"), "--output-map", str(folder / "map.tif"))
    return main(["--model-path", str(model), *paths, *FLAGS, *flags])


def layers(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("map", "confidence", "probabilities"):
        with rasterio.open(folder / f"{name}.tif") as dataset:
            found[name] = dataset.read()
    return found


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_maps_are_those_of_the_local_engine(
    model: Path, tmp_path: Path, scheme: str, tf_serving: RealServer | None
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "server").mkdir()
    asked = ("--probabilities", "--confidence")
    assert predict(model, tmp_path / "local", "--engine", "tensorflow", *asked) == 0
    with ModelServer(model) if tf_serving is None else nullcontext(tf_serving) as server:
        assert predict(model, tmp_path / "server", "--server", server.url(scheme), *asked) == 0
    local, served = layers(tmp_path / "local"), layers(tmp_path / "server")
    assert len(np.unique(local["map"])) > 2
    assert served["map"].tobytes() == local["map"].tobytes()
    for name in local:
        # Another build of TensorFlow may round a level to the next one.
        difference = np.abs(served[name].astype(int) - local[name]).max()
        assert difference <= (0 if tf_serving is None else 1)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_each_window_is_sent_once(model: Path, tmp_path: Path, scheme: str) -> None:
    with ModelServer(model) as server:
        assert predict(model, tmp_path, "--server", server.url(scheme), "--batch-size", "8") == 0
    # 4 rows of 3, a row at a time.
    assert len(server.predictions) == len(set(server.predictions)) == 12
    assert server.batches == ([1] * 12 if scheme == "http" else [3] * 4)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize(("flags", "windows"), [({}, 4), ({"batch_size": 1}, 1)])
def test_four_requests_are_under_way(
    model: Path, tmp_path: Path, scheme: str, flags: dict[str, int], windows: int
) -> None:
    write_raster(tmp_path / "scene.tif", 64, 64 * 16)
    with ModelServer(model) as server:
        options = predict_options(
            server=server.url(scheme), patch_size=64, patch_overlap=0, **flags
        )
        scene = ScenePrediction(
            tmp_path / "scene.tif", tmp_path / "map.tif", Engine(model, options.network), options
        )
        predictor = scene.predictor(scene.engine.backend, all_probabilities=True)
        # No request is answered before four have come.
        server.behaviour.meeting = threading.Barrier(4, timeout=60)
        ((_, band),) = predictor.region(range(1), range(16))
    assert band.shape == (64, 64 * 16, len(scene.engine.info.class_codes))
    assert server.batches == [windows] * (16 // windows)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8501", "expected a server URL"),
        ("http://127.0.0.1:1", "no model server at"),
        ("grpc://127.0.0.1:1", "UNAVAILABLE"),
    ],
)
def test_without_a_server_nothing_is_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, message: str
) -> None:
    assert predict(model, tmp_path, "--server", url, "--server-timeout", "1") == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_server_of_another_model_is_refused_and_nothing_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_export(tmp_path / "other", weights_sha256="f" * 64)
    out = tmp_path / "out"
    out.mkdir()
    with ModelServer(tmp_path / "other" / "landcover") as server:
        assert predict(model, out, "--server", server.grpc_url) == 2
    assert "is not the model of model.json: weights ffff" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["scene.tif"]


def test_a_broken_answer_leaves_no_map_and_another_server_continues(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(model) as server:
        # One request asks what the model is, some windows pass, then an answer is cut short.
        server.behaviour.failures += ["none"] * 8 + ["cut"]
        assert predict(model, tmp_path, "--server", server.rest_url) == 2
        first = len(server.predictions)
    assert "was cut short" in capsys.readouterr().err
    assert not (tmp_path / "map.tif").exists()
    with ModelServer(model) as server:
        assert predict(model, tmp_path, "--server", server.rest_url) == 0
        assert 0 < len(server.predictions) < 20 and first
    assert (tmp_path / "map.tif").exists()


def test_smaller_requests_continue_a_run_and_leave_its_map(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the client advises where an answer takes too long."""
    (tmp_path / "in").mkdir()
    write_raster(tmp_path / "in" / "scene.tif", 150, 110)
    paths = ("--input-image", str(tmp_path / "in"), "--output-map", str(tmp_path / "maps"))
    command = ["--model-path", str(model), *paths, *FLAGS]
    with ModelServer(model) as server:
        # One request asks what the model is, some rows of windows pass, then an answer is cut.
        server.behaviour.failures += ["none"] * 4 + ["cut"]
        assert main([*command, "--server", server.grpc_url]) == 2
    assert list(tmp_path.rglob("network/band_*.npy"))
    with ModelServer(model) as server:
        smaller = [*command, "--server", server.grpc_url, "--batch-size", "1"]
        assert main(smaller) == 0
        assert server.batches and len(server.batches) < 12 and {*server.batches} == {1}
        capsys.readouterr()
        assert main([*command, "--server", server.grpc_url]) == 0
        assert "map.tif (finished by an earlier run)" in capsys.readouterr().out


def test_a_busy_server_is_asked_for_as_long_as_the_time_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(model) as server:
        server.behaviour.retry_after = "6"
        server.behaviour.failures += ["none"] * 4 + ["busy"] * 3
        asked = ("--server", server.rest_url, "--server-timeout", "5")
        assert predict(model, tmp_path, *asked) == 2
    assert re.search("asks for a pause of 6 s.*gave up after 1 attempt", capsys.readouterr().err)


def test_a_slow_server_is_waited_for_as_long_as_asked(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(model) as server:
        server.behaviour.delay_s = 5
        asked = ("--server", server.rest_url, "--server-timeout", "0.5")
        assert predict(model, tmp_path, *asked) == 2
    assert "did not answer within 0.5 s" in capsys.readouterr().err
