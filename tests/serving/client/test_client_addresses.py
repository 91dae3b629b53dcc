"""Addresses of model servers, and the tokens that proxies ask for."""

import pytest
from fakes.model_server import QUICK, SCHEMES

from landcover_tf.errors import ServerError
from serving.client import ServerBackend
from serving.protocol import Address


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
