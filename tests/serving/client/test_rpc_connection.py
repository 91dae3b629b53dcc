"""How the client holds its connection over gRPC."""

import math
import shutil
import socket
import subprocess
import threading
from concurrent import futures
from contextlib import suppress

import grpc
import pytest
from fakes.model_server import QUICK

from landcover_tf.errors import ServerError
from serving.client import ServerBackend
from serving.rpc import OPTIONS


def test_pings_come_no_more_often_than_a_server_allows():
    """Without settings of its own, it ends the connection of who pings within five minutes.

    GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS in gRPC's channel_arg_names.h.
    """
    assert dict(OPTIONS).get("grpc.keepalive_time_ms", math.inf) >= 300_000


@pytest.fixture
def _no_such_host(monkeypatch):
    """A name server that knows no host, and is the one that gRPC asks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.1", 0))

        def answer() -> None:
            with suppress(OSError):  # The socket is closed.
                while True:
                    question, client = names.recvfrom(512)
                    # RFC 1035, 4.1.1: an answer, of code 3, to the same question.
                    names.sendto(question[:2] + b"\x81\x83" + question[4:], client)

        threading.Thread(target=answer, daemon=True).start()
        channel, server = grpc.insecure_channel, f"dns://127.0.0.1:{names.getsockname()[1]}"
        monkeypatch.setattr(
            grpc, "insecure_channel", lambda host, options: channel(f"{server}/{host}", options)
        )
        yield


@pytest.mark.usefixtures("_no_such_host")
def test_an_unknown_host_is_asked_once(info):
    with (
        ServerBackend("grpc://no.such.host.invalid", info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"no\.such\.host\.invalid.*; there is no such host$"),
    ):
        client.check()


@pytest.fixture
def untrusted(tmp_path):
    """Port of a server whose certificate nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
               "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    pair = (key.read_bytes(), certificate.read_bytes())
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    yield port
    server.stop(None)


def test_a_wrong_certificate_is_told_at_once(info, untrusted):
    message = (
        r"CERTIFICATE_VERIFY_FAILED.*\(GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names a file with .*\?$"
    )
    with (
        ServerBackend(f"grpcs://127.0.0.1:{untrusted}", info, settings=QUICK) as client,
        pytest.raises(ServerError, match=message),
    ):
        client.check()


def test_a_server_without_tls_is_asked_once(info, server):
    with (
        ServerBackend(server.grpc_url.replace("grpc", "grpcs"), info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"WRONG_VERSION_NUMBER.*; does the server speak TLS"),
    ):
        client.check()
