"""The client before servers that fail, go away, or answer with nonsense."""

import json
import shutil
import socket
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from fakes.model_server import BRIEF, QUICK, SCHEMES, ModelServer

from landcover_tf.errors import ServerError
from serving import rest
from serving.client import ServerBackend


@pytest.mark.parametrize("failure", ["busy", "drop"])
def test_an_unavailable_server_is_asked_again(client, images, expected, server, failure):
    client.check()
    server.behaviour.failures += [failure] * 3
    classes = client.classes(images)
    assert classes.tobytes() == expected["classes"].tobytes()
    # A connection that is lost takes the requests beside it along, which may be answered twice.
    answered = server.predictions if failure == "busy" else set(server.predictions)
    assert len(answered) == len(images)


def test_a_full_server_is_asked_again_over_rest(server, info, images, expected):
    """A proxy says 429 where TensorFlow Serving says 503."""
    with ServerBackend(server.rest_url, info, settings=QUICK) as client:
        client.check()
        server.behaviour.failures += ["exhausted"] * 3
        assert client.classes(images).tobytes() == expected["classes"].tobytes()


def test_a_server_without_tls_is_asked_once(server, info):
    with (
        ServerBackend(server.rest_url.replace("http", "https"), info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"no encrypted connection to https://.*TLS") as raised,
    ):
        client.check()
    assert "gave up" not in str(raised.value)


def test_a_connection_dropped_under_tls_is_asked_for_again(info):
    dropped = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drop():
            with suppress(OSError):  # The listener is closed.
                while True:
                    connection, _ = listener.accept()
                    with connection:  # What is left unread would reset it.
                        dropped.append(connection.recv(1 << 16))

        threading.Thread(target=drop, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with (
            ServerBackend(url, info, settings=BRIEF) as client,
            pytest.raises(
                ServerError, match=r"dropped the connection: .*gave up after \d+ attempts"
            ),
        ):
            client.check()
    assert len(dropped) > 1 and all(dropped)


def test_certificates_that_are_not_there_are_told(server, info, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with (
        ServerBackend(server.rest_url.replace("http", "https"), info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"cannot ask https://.*certificate.*/no/such\.pem"),
    ):
        client.check()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (socket.EAI_NONAME, r"no such host: Failed to resolve 'no.example.com' \(.* that\)$"),
        (
            socket.EAI_AGAIN,
            "no model server at http://no.example.com:80.*gave up after .* attempts",
        ),
    ],
)
def test_an_unknown_host_is_asked_once(info, monkeypatch, code, message):
    def look_up(*_, **__):
        raise socket.gaierror(code, "nobody knows that")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with (
        ServerBackend("http://no.example.com:80", info, settings=BRIEF) as client,
        pytest.raises(ServerError, match=message),
    ):
        client.check()


def test_a_refused_request_is_not_repeated(server, info):
    with ServerBackend(server.grpc_url, info, settings=QUICK) as client:
        client.check()
        server.behaviour.failures += ["exhausted"]
        with pytest.raises(ServerError, match=r"RESOURCE_EXHAUSTED.*smaller batches"):
            client.classes(np.ones((1, 32, 32, 4), np.uint16))
    assert server.predictions == []


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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_is_down_is_named(info, scheme):
    with (
        ServerBackend(f"{scheme}://127.0.0.1:1", info, settings=BRIEF) as client,
        pytest.raises(ServerError, match=r"127\.0\.0\.1:1.*gave up after \d+ attempts in \d+ s"),
    ):
        client.check()


@pytest.fixture
def deaf():
    """A port with room for one connection, which nobody answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        yield listener.getsockname()[1]


def test_a_host_that_lets_connections_wait_is_asked_again(info, deaf, monkeypatch):
    monkeypatch.setattr(rest, "FIRST_CONNECTION_S", 0.2)
    with (
        socket.create_connection(("127.0.0.1", deaf)),
        ServerBackend(f"http://127.0.0.1:{deaf}", info, settings=BRIEF) as client,
        pytest.raises(ServerError, match=r"no connection within 0\.2 s; gave up after [2-9] att"),
    ):
        client.check()


def test_a_port_that_leaves_tls_unanswered_is_asked_again(info, deaf, monkeypatch):
    monkeypatch.setattr(rest, "FIRST_CONNECTION_S", 0.2)
    with (
        ServerBackend(f"https://127.0.0.1:{deaf}", info, settings=BRIEF) as client,
        pytest.raises(ServerError, match=r"no connection within 0\.2 s; gave up after [2-9] att"),
    ):
        client.check()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_of_the_environment_is_named(info, scheme, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{scheme}_proxy", "http://user:secret@127.0.0.1:1")
    with (
        ServerBackend(f"{scheme}://192.0.2.1:8501", info, settings=BRIEF) as client,
        pytest.raises(ServerError) as raised,
    ):
        client.check()
    message = str(raised.value)
    assert message.startswith("the proxy of the environment (HTTP_PROXY, HTTPS_PROXY) does not")
    assert f"{scheme}://192.0.2.1:8501/v1/models/landcover/versions/1/metadata: " in message
    assert "Connection refused; NO_PROXY=192.0.2.1 goes around it; gave up after" in message
    assert "secret" not in message


def test_the_rest_port_is_not_a_grpc_port(server, info):
    url = server.rest_url.replace("http", "grpc")
    with (
        ServerBackend(url, info, settings=replace(BRIEF, timeout_s=3)) as client,
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


def test_an_answer_that_stalls_is_asked_for_once(server, info):
    impatient = replace(QUICK, timeout_s=1)
    with ServerBackend(server.rest_url, info, settings=impatient) as client:
        client._checked = True
        server.behaviour.failures += ["stall"] * 4
        with pytest.raises(ServerError, match=r"did not answer within 1 s"):
            client.classes(np.ones((1, 32, 32, 4), np.uint16))
    assert len(server.behaviour.failures) == 3


@pytest.mark.parametrize(
    ("scheme", "failure", "message"),
    [
        ("http", "cut", "was cut short"),
        ("http", "nan", "not answer with valid JSON: it holds NaN; got application/json: "),
        ("http", "late", r"HTTP 504: Timed out.*raise --rest_api_timeout_in_ms of the server"),
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


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("[]", "its description is not a JSON object$"),
        ("null", "its description is not a JSON object$"),
        ("5", "its description is not a JSON object$"),
        ("[" * 100_000, "its description is not JSON$"),
        ('{"legend": {"classes": [5]}, "bands": [5]}', r"bands \[5\] instead of B02 B03 B04 B08; .*"
         r"legend {'classes': \[5\]} instead of landcover9 \[10"),
    ],
)  # fmt: skip
def test_a_strange_description_is_named(server, info, described, message):
    server.behaviour.failures.append(json.dumps({"outputs": [described]}))
    with (
        ServerBackend(server.rest_url, info, settings=QUICK) as client,
        pytest.raises(ServerError, match=f"is not the model of model.json: {message}"),
    ):
        client.check()


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ({"redirect": "https://sso.example.com"}, r"landcover/versions/1:predict redirects to "
         r"https://sso.example.com/v1/models/.*; give the URL of the model server itself"),
        ({"page": "<html>\n<body>Please log in</body>"}, "valid JSON: .*; got text/html: "
         "<html> <body>Please log in</body>"),
    ],
)  # fmt: skip
def test_what_a_proxy_answers_instead_is_shown(server, info, images, proxy, message):
    with ServerBackend(server.rest_url, info, settings=QUICK) as client:
        client.check()
        for name, value in proxy.items():
            setattr(server.behaviour, name, value)
        with pytest.raises(ServerError, match=message):
            client.classes(images[:1])


def test_an_answer_nested_without_end_is_named(server, info):
    server.behaviour.failures.append("[" * 100_000)
    with (
        ServerBackend(server.rest_url, info, settings=QUICK) as client,
        pytest.raises(ServerError, match="not answer with valid JSON: maximum recursion depth"),
    ):
        client.check()


def test_a_request_beyond_the_servers_limit_is_named(model_folder, info):
    with (
        ModelServer(model_folder, max_message_bytes=4 * 2**20) as server,
        ServerBackend(server.grpc_url, info, settings=QUICK) as client,
    ):
        with pytest.raises(ServerError, match=r"larger than max.*had 5,3\d\d,\d\d\d bytes"):
            client.classes(np.ones((1, 800, 832, 4), np.uint16))
        assert client.classes(np.ones((1, 512, 512, 4), np.uint16)).shape == (1, 512, 512)
