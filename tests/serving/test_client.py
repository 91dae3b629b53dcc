"""The client against a double of TensorFlow Serving over a real export.

Where TensorFlow Serving itself exists, the tests that need no fault run against it instead.
"""

import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fakes.model_server import Behaviour, ModelServer
from fakes.small_export import stored_images, write_small_export

from landcover_tf.errors import ServerError
from landcover_tf.model_info import Calibration, ModelInfo, find_export
from serving.client import ClientSettings, ServerBackend
from serving.protocol import Address, Retries, UnavailableError

QUICK = ClientSettings(timeout_s=20, in_flight=3, retries=Retries(attempts=4, first_pause_s=0.02))
SCHEMES = ("http", "grpc")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, tf_serving) -> Path:
    if tf_serving is not None:
        return tf_serving.model_folder
    folder = tmp_path_factory.mktemp("served")
    write_small_export(folder)
    return folder / "landcover"


@pytest.fixture(scope="module")
def info(model_folder) -> ModelInfo:
    return ModelInfo.load(find_export(model_folder))


@pytest.fixture(scope="module")
def running(model_folder, tf_serving):
    if tf_serving is not None:
        yield tf_serving
        return
    with ModelServer(model_folder) as server:
        yield server


@pytest.fixture
def any_server(running):
    """The double as new, or TensorFlow Serving itself."""
    if isinstance(running, ModelServer):
        running.behaviour = Behaviour()
        running.predictions.clear()
    return running


@pytest.fixture
def server(any_server):
    """The double, which can be told what to do wrong."""
    if not isinstance(any_server, ModelServer):
        pytest.skip("TensorFlow Serving makes no mistakes on demand")
    return any_server


@pytest.fixture(params=SCHEMES)
def connect(request, any_server):
    """Returns a client of the server that expects some model."""
    with ExitStack() as opened:
        url = any_server.url(request.param)
        yield lambda info: opened.enter_context(ServerBackend(url, info, settings=QUICK))


@pytest.fixture
def client(connect, info):
    return connect(info)


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory, model_folder) -> Path:
    """Folder of a model in versions 1 and 2."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(model_folder, folder / "landcover")
    write_small_export(folder, version=2, seed=2)
    return folder / "landcover"


@pytest.fixture(scope="module")
def local(model_folder):
    return tf.saved_model.load(str(find_export(model_folder))).signatures["serving_default"]


@pytest.fixture(scope="module")
def images(info) -> np.ndarray:
    return stored_images(7, 64, info, seed=3)


@pytest.fixture(scope="module")
def expected(local, images) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in local(image=tf.constant(images)).items()}


def test_answers_are_those_of_the_local_model(client, any_server, info, images, expected):
    # To the last bit where both are one build of TensorFlow.
    tolerance = 0 if isinstance(any_server, ModelServer) else 1e-5
    found = client.probabilities(images)
    np.testing.assert_allclose(found, expected["probabilities"], rtol=0, atol=tolerance)
    assert client.classes(images).tobytes() == expected["classes"].tobytes()
    decided = client.decide(images)
    index_of_code = {code: i for i, code in enumerate(info.class_codes)}
    index_of_code[info.legend.nodata] = 255
    dense = np.vectorize(index_of_code.get)(expected["classes"])
    np.testing.assert_array_equal(decided[..., 0], dense)
    levels = np.rint(expected["confidence"] * 254.0)
    np.testing.assert_allclose(decided[..., 1].astype(float), levels, rtol=0, atol=tolerance * 1e5)


def test_any_batch_and_window_size(client, local, info):
    for batch, size in ((1, 32), (2, 96), (13, 32)):
        images = stored_images(batch, size, info, seed=size)
        np.testing.assert_array_equal(
            client.classes(images), local(image=tf.constant(images))["classes"].numpy()
        )


def test_windows_need_not_be_square(client, local, info):
    images = stored_images(2, 64, info)[:, :32]
    np.testing.assert_array_equal(
        client.classes(images), local(image=tf.constant(images))["classes"].numpy()
    )


def test_stream_keeps_the_order_and_reads_a_bounded_number_ahead(client, info, server):
    server.behaviour.delay_s = 0.02
    drawn = []

    def batches():
        for number in range(12):
            drawn.append(number)
            yield np.full((1, 32, 32, 4), 1000 + 100 * number, np.uint16)

    for number, answer in enumerate(client.stream(batches(), ("probabilities",))):
        assert len(drawn) <= number + QUICK.in_flight
        alone = client.probabilities(np.full((1, 32, 32, 4), 1000 + 100 * number, np.uint16))
        assert answer["probabilities"].tobytes() == alone.tobytes()
    assert number == 11


def test_requests_overlap(client, images, server):
    client.check()
    # None of the three requests of one window is answered before all have come.
    server.behaviour.meeting = threading.Barrier(3, timeout=60)
    assert len(client.classes(images[:3])) == 3


@pytest.mark.parametrize("failure", ["busy", "drop"])
def test_an_unavailable_server_is_asked_again(client, images, expected, server, failure):
    client.check()
    server.behaviour.failures += [failure] * 3
    classes = client.classes(images)
    assert classes.tobytes() == expected["classes"].tobytes()
    assert len(server.predictions) == len(images)


def test_it_gives_up_after_the_agreed_attempts(client, images, server):
    client.check()
    server.behaviour.failures += ["busy"] * 100
    with pytest.raises(ServerError, match="gave up after 4 attempts"):
        client.classes(images[:1])
    assert len(server.behaviour.failures) == 96


def test_a_refused_request_is_not_repeated(server, info):
    with ServerBackend(server.grpc_url, info, settings=QUICK) as client:
        client.check()
        server.behaviour.failures += ["exhausted"]
        with pytest.raises(ServerError, match=r"RESOURCE_EXHAUSTED.*smaller batches"):
            client.classes(np.ones((1, 32, 32, 4), np.uint16))
    assert server.predictions == []


def test_pauses_double_up_to_a_limit(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def ask():
        raise UnavailableError("away")

    retries = Retries(attempts=6, first_pause_s=1, longest_pause_s=5)
    with pytest.raises(ServerError, match="away; gave up after 6 attempts"):
        retries.run(ask)
    for pause, longest in zip(pauses, (1, 2, 4, 5, 5), strict=True):
        assert longest / 2 <= pause <= longest


def test_a_restart_between_requests_is_survived(model_folder, info, images, expected, monkeypatch):
    # gRPC waits about a second before it connects again.
    patient = replace(QUICK, retries=Retries(attempts=12, first_pause_s=0.2, longest_pause_s=0.5))
    sleep, one_at_a_time = time.sleep, threading.Lock()
    away = []

    def come_back_and_sleep(seconds):
        with one_at_a_time:  # Several requests find no server.
            if away:
                away.pop().start_again()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", come_back_and_sleep)
    for scheme in SCHEMES:
        with (
            ModelServer(model_folder) as server,
            ServerBackend(server.url(scheme), info, settings=patient) as client,
        ):
            client.check()
            server.stop()
            away.append(server)
            assert client.classes(images).tobytes() == expected["classes"].tobytes()
            assert not away, "no request came while the server was away"


def test_another_version_after_a_restart_is_refused(
    tmp_path, two_versions, model_folder, info, images
):
    shutil.copytree(two_versions / "2", tmp_path / "landcover" / "2")
    for scheme in SCHEMES:
        with (
            ModelServer(model_folder) as server,
            ServerBackend(server.url(scheme), info, settings=QUICK) as client,
        ):
            client.classes(images[:1])
            server.stop()
            server.load(tmp_path / "landcover")
            server.start_again()
            with pytest.raises(ServerError, match=r"Servable not found.*Specific\(landcover, 1\)"):
                client.classes(images[:1])


def test_two_versions_side_by_side_are_not_mixed(two_versions, images):
    infos = [ModelInfo.load(two_versions / version) for version in "12"]
    with ModelServer(two_versions) as server:
        for scheme in SCHEMES:
            answers = []
            for each in infos:
                with ServerBackend(server.url(scheme), each, settings=QUICK) as client:
                    answers.append(client.probabilities(images))
            assert np.abs(answers[0] - answers[1]).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration": Calibration()}, r"calibration .*0.6.* instead of .*none"),
        ({"weights_sha256": "abc"}, r"weights  instead of abc"),
        ({"nodata": 7}, r"no-data value 0 instead of 7"),
    ],
)
def test_a_served_model_that_differs_is_named(connect, info, any_server, changes, message):
    client = connect(replace(info, **changes))
    with pytest.raises(ServerError, match=f"is not the model of model.json: {message}"):
        client.classes(np.ones((1, 32, 32, 4), np.uint16))
    if isinstance(any_server, ModelServer):
        assert any_server.predictions == []


def test_other_bands_and_legend_are_named_by_name(connect, info):
    bands = tuple(replace(b, name=n) for b, n in zip(info.bands, ("B01", "B02", "B03", "B04"),
                                                     strict=True))  # fmt: skip
    legend = replace(info.legend, name="other")
    client = connect(replace(info, bands=bands, legend=legend))
    with pytest.raises(
        ServerError,
        match=r"bands B02 B03 B04 B08 instead of B01 B02 B03 B04; legend landcover9 \[10.* instead "
        r"of other",
    ):
        client.check()


def test_another_number_of_bands_is_seen_in_the_metadata(connect, info):
    client = connect(replace(info, bands=info.bands[:3]))
    with pytest.raises(ServerError, match=r"images of shape \(-1, -1, -1, 4\), expected .* 3\)"):
        client.check()


def test_an_unknown_signature_is_named(connect, info):
    client = connect(replace(info, signatures=("serving_default", "segment")))
    with pytest.raises(ServerError, match=r"no signature segment \(it has classify, describe"):
        client.check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unknown_model_is_named(any_server, info, scheme):
    url = f"{any_server.url(scheme)}/v1/models/forests"
    with (
        ServerBackend(url, info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"Servable not found for request: Specific\(forests, 1\)"),
    ):
        client.check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_is_down_is_named(info, scheme):
    with (
        ServerBackend(f"{scheme}://127.0.0.1:1", info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"127\.0\.0\.1:1.*gave up after 4 attempts"),
    ):
        client.check()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8501",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://me:secret@host",
        "http://host?key=1",
        "http://host/v1/models",
        "http://host/v1/models/crops/versions/2",
        "http://host/v1/models/crops:predict",
        "grpc://host/prefix",
    ],
)
def test_a_wrong_url_is_named(info, url):
    with pytest.raises(ServerError, match="expected a server URL") as raised:
        ServerBackend(url, info)
    assert "secret" not in str(raised.value)


def test_urls_are_understood():
    assert Address.parse("http://host").host == "host:8501"
    assert Address.parse("grpc://[::1]") == Address(scheme="grpc", host="[::1]:8500")
    assert Address.parse("https://host").host == Address.parse("grpcs://host").host == "host:443"
    proxied = Address.parse("https://host/maps/eu/v1/models/crops")
    assert (proxied.prefix, proxied.model) == ("/maps/eu", "crops")
    assert Address.parse("http://host/maps/").prefix == "/maps"
    address = Address.parse("https://host:443/v1/models/crops")
    assert address == Address(scheme="https", host="host:443", model="crops") and address.secure


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_token_is_sent_to_a_proxy_that_asks_for_one(
    server, info, images, expected, scheme, monkeypatch
):
    server.behaviour.token, server.behaviour.prefix = "a.b-c", "/maps"
    url = server.url(scheme) + ("/maps" if scheme == "http" else "")
    for token in (None, "other"):
        if token:
            monkeypatch.setenv("LANDCOVER_SERVER_TOKEN", token)
        with (
            ServerBackend(url, info, settings=QUICK) as client,
            pytest.raises(ServerError, match="is the right token in LANDCOVER_SERVER_TOKEN"),
        ):
            client.check()
    monkeypatch.setenv("LANDCOVER_SERVER_TOKEN", "a.b-c\n")
    with ServerBackend(url, info, settings=QUICK) as client:
        assert client.classes(images).tobytes() == expected["classes"].tobytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_token_does_not_leave_the_machine_unencrypted(info, scheme, monkeypatch):
    monkeypatch.setenv("LANDCOVER_SERVER_TOKEN", "secret")
    with pytest.raises(ServerError, match=f"use {scheme}s://") as raised:
        ServerBackend(f"{scheme}://192.0.2.1", info)
    assert "secret" not in str(raised.value)
    monkeypatch.setenv("LANDCOVER_SERVER_TOKEN", "two words")
    with pytest.raises(ServerError, match="must be one word"):
        ServerBackend(f"{scheme}s://host", info)


def test_the_rest_port_is_not_a_grpc_port(server, info):
    url = server.rest_url.replace("http", "grpc")
    with (
        ServerBackend(url, info, settings=replace(QUICK, timeout_s=3)) as client,
        pytest.raises(ServerError, match=r"model landcover version 1: (UNAVAILABLE|DEADLINE)"),
    ):
        client.check()


def test_a_slow_answer_ends_in_a_message(server, info):
    for scheme in SCHEMES:
        impatient = replace(QUICK, timeout_s=0.3)
        with ServerBackend(server.url(scheme), info, settings=impatient) as client:
            client._checked = True
            server.behaviour.delay_s = 1.0
            with pytest.raises(ServerError, match=r"within 0\.3 s"):
                client.classes(np.ones((1, 32, 32, 4), np.uint16))


@pytest.mark.parametrize(
    ("scheme", "failure", "message"),
    [
        ("http", "cut", "was cut short"),
        ("http", "nan", "not answer with valid JSON: it holds NaN"),
        ("http", "garbage", "without the expected outputs"),
        ("grpc", "cut", r"expected float32 \(1, 32, 32, 8\)"),
        ("grpc", "nan", "probabilities that are not numbers"),
        ("grpc", "joined", r"different shapes.*start the server without --enable_batching"),
    ],
)
def test_a_broken_answer_is_named(server, info, scheme, failure, message):
    with ServerBackend(server.url(scheme), info, settings=QUICK) as client:
        client.check()
        server.behaviour.failures.append(failure)
        with pytest.raises(ServerError, match=message):
            client.probabilities(np.ones((1, 32, 32, 4), np.uint16))


def test_the_graphs_own_check_reaches_the_user(client):
    with pytest.raises(ServerError, match=r"multiples of 32, got.*40 32"):
        client.classes(np.ones((1, 40, 32, 4), np.uint16))


def test_a_request_beyond_the_servers_limit_is_named(model_folder, info):
    with (
        ModelServer(model_folder, max_message_bytes=4 * 2**20) as server,
        ServerBackend(server.grpc_url, info, settings=QUICK) as client,
    ):
        with pytest.raises(ServerError, match=r"larger than max.*had 5,3\d\d,\d\d\d bytes"):
            client.classes(np.ones((1, 800, 832, 4), np.uint16))
        assert client.classes(np.ones((1, 512, 512, 4), np.uint16)).shape == (1, 512, 512)


def test_answers_beyond_the_clients_default_limit_arrive(server, info):
    with ServerBackend(server.grpc_url, info, settings=QUICK) as client:
        probabilities = client.probabilities(np.ones((1, 512, 512, 4), np.uint16))
    assert probabilities.nbytes > 4 * 2**20


def test_settings_are_checked():
    with pytest.raises(ValueError, match="in_flight must be positive, got 0"):
        ClientSettings(in_flight=0)


def test_the_rest_client_never_imports_tensorflow(run_python):
    code = """
import sys, serving.client, serving.rest
assert not {"tensorflow", "keras", "grpc"} & set(sys.modules)
"""
    run_python(code)


@pytest.fixture
def run_python():
    import subprocess
    import sys

    return lambda code: subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
