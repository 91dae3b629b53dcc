"""Downloads of single files, whatever the server does."""

import hashlib

import pytest
from fakes.object_store import MAP, ObjectStore, quick_client, serving

pytest.importorskip("requests")

from landcover_tf.errors import ServerError
from landcover_tf.sentinel2.fetch_http import HttpClient, NotFoundError, md5_of_base64


@pytest.fixture
def store():
    """The server, holding one WorldCover tile."""
    held = ObjectStore()
    held.objects[MAP] = bytes(range(256)) * 4000
    with serving(held) as running:
        yield running


def test_refusals_are_not_retried(store):
    store.faults[MAP] = ["403"] * 5
    with pytest.raises(ServerError, match="answered 403"):
        quick_client().get_bytes(f"{store.url}/{MAP}")
    assert len(store.gets(MAP)) == 1
    with pytest.raises(NotFoundError, match="does not exist"):
        quick_client().get_bytes(f"{store.url}/nothing")


def test_server_that_ignores_ranges(store, tmp_path):
    content = store.objects[MAP]
    target = tmp_path / "map.tif"
    (tmp_path / "map.tif.part").write_bytes(content[:1000])
    store.faults[MAP] = ["norange"]
    counted: list[int] = []
    quick_client().download(
        f"{store.url}/{MAP}", target, size_bytes=len(content), advance=counted.append
    )
    assert target.read_bytes() == content
    assert sum(counted) == len(content)


def test_part_of_the_full_size_needs_no_request(store, tmp_path):
    content = store.objects[MAP]
    (tmp_path / "map.tif.part").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()
    quick_client().download(
        f"{store.url}/{MAP}", tmp_path / "map.tif", size_bytes=len(content), md5=md5
    )
    assert store.requests == []


def test_unreachable_server(tmp_path):
    with pytest.raises(ServerError, match="cannot reach"):
        HttpClient(attempts=2, first_wait_s=0.01).get_json("http://127.0.0.1:9/o")


def test_empty_file(store, tmp_path):
    store.objects["bucket/empty"] = b""
    quick_client().download(f"{store.url}/bucket/empty", tmp_path / "empty", size_bytes=0)
    assert (tmp_path / "empty").read_bytes() == b""


def test_md5_of_googles_form():
    # MD5 of the empty string: d41d8cd98f00b204e9800998ecf8427e.
    assert md5_of_base64("1B2M2Y8AsgTpgAmY7PhCfg==") == "d41d8cd98f00b204e9800998ecf8427e"
    assert md5_of_base64(None) is None
