"""Published weights: what they expect, and their download."""

import hashlib
import http.server
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from landcover_tf.errors import ModelError, OutputError
from landcover_tf.models import pretrained


def test_published_normalizations():
    moco = pretrained.find("sentinel2-moco", "resnet50")
    assert (set(moco.mean), set(moco.std)) == ({0.0}, {1.0})
    softcon = pretrained.find("sentinel2-softcon", "resnet50")
    assert softcon.mean[0] == pytest.approx(0.16129)
    assert softcon.bands[8] == "B8A"
    imagenet = pretrained.find("imagenet", "resnet101")
    assert imagenet.bands == ("B04", "B03", "B02")
    for weights in pretrained.PRETRAINED:
        assert len(weights.mean) == len(weights.std) == len(weights.bands)
        assert weights.sha256 in weights.file_name


@pytest.mark.parametrize(
    ("source", "encoder", "message"),
    [
        ("sentinel2-mocco", "resnet50", "expected --encoder-weights to be sentinel2-moco, "),
        ("sentinel2-dino", "resnet18", "exist for resnet50 only, not for resnet18"),
    ],
)
def test_unknown_sources_are_refused(source, encoder, message):
    with pytest.raises(ModelError, match=message):
        pretrained.find(source, encoder)


class _Quiet(http.server.BaseHTTPRequestHandler):
    """Serves `content`, without its end as cut.pth, `tensors`, and 404 elsewhere."""

    content = b"weights"
    tensors = save({"conv1.weight": np.zeros((64, 1, 7, 7), np.float32)})

    def do_GET(self) -> None:
        files = {"/w.pth": self.content, "/cut.pth": self.content, "/w.safetensors": self.tensors}
        content = files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content is not None:
            self.wfile.write(content[:-2] if self.path == "/cut.pth" else content)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def published(url: str, sha256: str) -> pretrained.PretrainedWeights:
    return pretrained.PretrainedWeights(
        source="test",
        encoder="resnet18",
        url=url,
        sha256=sha256,
        license="",
        bands=("B02",),
        mean=(0.0,),
        std=(1.0,),
    )


SHA256 = hashlib.sha256(_Quiet.content).hexdigest()


def test_download_is_cached_and_checked(address, tmp_path):
    weights = published(f"{address}/w.pth", SHA256[:8])
    path = pretrained.fetch(weights, tmp_path)
    assert path.read_bytes() == _Quiet.content
    gone = published("http://127.0.0.1:9/w.pth", SHA256[:8])
    assert pretrained.fetch(gone, tmp_path) == path  # From the cache, without a connection.
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match=rf"w\.pth is damaged.*expected {SHA256[:8]}; remove it"):
        pretrained.fetch(gone, tmp_path)


def test_wrong_content_is_not_kept(address, tmp_path):
    with pytest.raises(ModelError, match=f"begins {SHA256[:8]}, expected 00000000"):
        pretrained.fetch(published(f"{address}/w.pth", "00000000"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_without_published_hash_is_pinned_by_its_first_download(address, tmp_path):
    weights = published(f"{address}/w.safetensors", "")
    path = pretrained.fetch(weights, tmp_path)
    kept = (tmp_path / "w.safetensors.sha256").read_text().strip()
    assert kept == hashlib.sha256(_Quiet.tensors).hexdigest()
    path.write_bytes(b"another")
    with pytest.raises(ModelError, match="damaged or not the published file"):
        pretrained.fetch(weights, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.pth", r"cut off after 5 of 7 bytes; try again"),
        ("w.pth", r"w\.pth gave a file that cannot be read as weights"),
    ],
)
def test_what_is_no_whole_file_is_not_kept(address, tmp_path, name, message):
    with pytest.raises(ModelError, match=message):
        pretrained.fetch(published(f"{address}/{name}", ""), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/w.pth", "missing.pth"])
def test_offline_is_one_sentence_with_file_and_flag(address, tmp_path, path):
    url = path if path.startswith("http") else f"{address}/{path}"
    name = url.rsplit("/", 1)[-1]
    with pytest.raises(ModelError) as caught:
        pretrained.fetch(published(url, SHA256[:8]), tmp_path)
    message = str(caught.value)
    assert re.search(rf"cannot download {name} \(.+\): fetch {url} ", message)
    assert "--encoder-weights FILE" in message
    assert "--encoder-weights none" in message
    assert "\n" not in message


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDCOVER_CACHE_DIR", str(tmp_path))
    assert pretrained.cache_folder() == tmp_path / "weights"
    monkeypatch.delenv("LANDCOVER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert pretrained.cache_folder() == Path("/elsewhere/landcover_tf/weights")


def test_a_home_that_cannot_be_used_is_told(monkeypatch, as_nobody, address):
    for name in ("LANDCOVER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(as_nobody / "home"))
    (as_nobody / "home").mkdir(mode=0)
    advice = "set LANDCOVER_CACHE_DIR to a folder of your own, or pass --encoder-weights FILE"
    with pytest.raises(ModelError, match=rf"Permission denied.*{advice}"):
        pretrained.fetch(published(f"{address}/w.pth", SHA256))
    (as_nobody / "home").chmod(0o555)
    with pytest.raises(OutputError, match=rf"cannot write .*w\.pth: .*{advice}"):
        pretrained.fetch(published(f"{address}/w.pth", SHA256))
    # As in a container that gives its user a number and no name.
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    with pytest.raises(ModelError, match=rf"Could not determine home directory.*{advice}"):
        pretrained.cache_folder()
