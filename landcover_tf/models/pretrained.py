"""Published encoder weights: where they are, what input they expect, and the cached download."""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from landcover_tf.bands import BAND_NAMES
from landcover_tf.errors import ModelError, OutputError
from landcover_tf.system.files import atomic_path, sha256_of
from landcover_tf.system.progress import progress

TIMEOUT_S = 30

_OTHER_CACHE = "set LANDCOVER_CACHE_DIR to a folder of your own, or pass --encoder-weights FILE"


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """One published file; its input is (reflectance - mean) / std, per band."""

    source: str
    """Value of `--encoder-weights`."""
    encoder: str
    url: str
    sha256: str
    """The file's SHA-256 or the first digits of it; empty where none is published."""
    license: str
    bands: tuple[str, ...]
    """Band of each input channel of conv1."""
    mean: tuple[float, ...]
    """Reflectance that the file's input has as 0, per band."""
    std: tuple[float, ...]
    """Reflectance per unit of the file's input, per band."""

    @property
    def file_name(self) -> str:
        """The file's name, the last part of its address."""
        return self.url.rsplit("/", 1)[-1]


# Statistics of SSL4EO-S12 in digital numbers without offset, used by the SoftCon authors:
# https://github.com/zhu-xlab/softcon and torchgeo/models/resnet.py.
_SSL4EO_MEAN_DN = (
    *(1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7),
    *(2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4),
)
_SSL4EO_STD_DN = (
    *(791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0),
    *(1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9),
)
# ESA's true-colour image shows reflectance 0.3558 as 255 (Sentinel-2 Products Specification);
# with it reflectance becomes the photograph-like 0..1 that ImageNet networks know.
_TRUE_COLOR_WHITE = 0.3558


def _sentinel2(
    method: str,
    encoder: str,
    url: str,
    sha256: str,
    license: str,
    mean: tuple[float, ...] = (0.0,) * 13,
    std: tuple[float, ...] = (1.0,) * 13,
) -> PretrainedWeights:
    return PretrainedWeights(
        source=f"sentinel2-{method}",
        encoder=encoder,
        url=f"https://huggingface.co/{url}",
        sha256=sha256,
        license=license,
        bands=BAND_NAMES,
        mean=mean,
        std=std,
    )


def _imagenet(encoder: str, sha256: str) -> PretrainedWeights:
    return PretrainedWeights(
        source="imagenet",
        encoder=encoder,
        url=f"https://download.pytorch.org/models/{encoder}-{sha256}.pth",
        sha256=sha256,
        license="BSD-3-Clause",
        bands=("B04", "B03", "B02"),
        mean=tuple(m * _TRUE_COLOR_WHITE for m in (0.485, 0.456, 0.406)),
        std=tuple(s * _TRUE_COLOR_WHITE for s in (0.229, 0.224, 0.225)),
    )


# Addresses, revisions and hash digits as torchgeo/models/resnet.py and torchvision list them.
# MoCo, DINO (Wang et al. 2022, SSL4EO-S12) and DeCUR (Wang et al. 2023) take reflectance as it
# is; SoftCon (Wang et al. 2024) takes it standardized.
PRETRAINED: tuple[PretrainedWeights, ...] = (
    _sentinel2(
        "moco",
        "resnet50",
        "torchgeo/resnet50_sentinel2_all_moco/resolve/da4f3c9dbe09272eb902f3b37f46635fa4726879/"
        "resnet50_sentinel2_all_moco-df8b932e.pth",
        "df8b932e",
        "CC-BY-4.0",
    ),
    _sentinel2(
        "moco",
        "resnet18",
        "torchgeo/resnet18_sentinel2_all_moco/resolve/5b8cddc9a14f3844350b7f40b85bcd32aed75918/"
        "resnet18_sentinel2_all_moco-59bfdff9.pth",
        "59bfdff9",
        "CC-BY-4.0",
    ),
    _sentinel2(
        "dino",
        "resnet50",
        "torchgeo/resnet50_sentinel2_all_dino/resolve/d7f14bf5530d70ac69d763e58e77e44dbecfec7c/"
        "resnet50_sentinel2_all_dino-d6c330e9.pth",
        "d6c330e9",
        "CC-BY-4.0",
    ),
    _sentinel2(
        "decur",
        "resnet50",
        "torchgeo/decur/resolve/eba7ae5945d482a4319be046d34b552db5dd9950/"
        "rn50_ssl4eo-s12_ms_decur_ep100-fc6b09ff.pth",
        "fc6b09ff",
        "Apache-2.0",
    ),
    _sentinel2(
        "softcon",
        "resnet50",
        "wangyi111/softcon/resolve/62ff465b2e7467dbfc70758ec1e9d08ab87fc46b/B13_rn50_softcon.pth",
        "",
        "CC-BY-4.0",
        tuple(dn / 10000 for dn in _SSL4EO_MEAN_DN),
        tuple(dn / 10000 for dn in _SSL4EO_STD_DN),
    ),
    _imagenet("resnet18", "f37072fd"),
    _imagenet("resnet34", "b627a593"),
    _imagenet("resnet50", "0676ba61"),
    _imagenet("resnet101", "63fe2227"),
)
SOURCES: tuple[str, ...] = tuple(dict.fromkeys(weights.source for weights in PRETRAINED))
"""Names that `--encoder-weights` knows beside `none` and paths."""


def find(source: str, encoder: str) -> PretrainedWeights:
    """Returns the published weights of a source for an encoder.

    Raises:
        ModelError: The source is unknown or has no weights for this encoder.
    """
    of_source = [weights for weights in PRETRAINED if weights.source == source]
    if not of_source:
        raise ModelError(
            f"expected --encoder-weights to be {', '.join(SOURCES)}, none or a file; got {source!r}"
        )
    for weights in of_source:
        if weights.encoder == encoder:
            return weights
    encoders = ", ".join(weights.encoder for weights in of_source)
    raise ModelError(
        f"{source} weights exist for {encoders} only, not for {encoder}; choose another --model "
        "or other --encoder-weights"
    )


def cache_folder() -> Path:
    """Returns the folder of downloaded weights: `LANDCOVER_CACHE_DIR` or the user's cache.

    Raises:
        ModelError: The user has no home folder.
    """
    if own := os.environ.get("LANDCOVER_CACHE_DIR"):
        return Path(own) / "weights"
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise _no_cache(error) from error
    return base / "landcover_tf" / "weights"


def fetch(weights: PretrainedWeights, folder: Path | None = None) -> Path:
    """Returns the cached file of published weights, downloaded first where it is missing.

    A file whose publisher gives no hash is trusted at its first download, from an address that
    names a fixed revision, if it can be read; its SHA-256 is kept beside it and checked from then
    on.

    Args:
        weights: What to fetch.
        folder: The cache; `cache_folder()` by default.

    Raises:
        ModelError: There is no connection, the file is not the published one, or the cache cannot
            be read.
        OutputError: The cache cannot be written.
    """
    path = (folder or cache_folder()) / weights.file_name
    try:
        if not path.is_file():
            _download(weights, path)
        check_hash(weights, path)
    except OSError as error:
        raise _no_cache(error) from error
    except OutputError as error:
        raise OutputError(f"{error}; {_OTHER_CACHE}") from error
    return path


def check_hash(weights: PretrainedWeights, path: Path) -> None:
    """Checks that a file is the published one.

    Raises:
        ModelError: Its SHA-256 is another.
    """
    note = path.with_name(f"{path.name}.sha256")
    expected = weights.sha256 or (note.read_text().strip() if note.is_file() else "")
    actual = sha256_of(path)
    if not actual.startswith(expected):
        raise ModelError(
            f"{path} is damaged or not the published file: its SHA-256 begins {actual[:8]}, "
            f"expected {expected[:8]}; remove it and fetch it again from {weights.url}"
        )


def _download(weights: PretrainedWeights, path: Path) -> None:
    request = urllib.request.Request(weights.url, headers={"User-Agent": "landcover-tf"})
    digest = hashlib.sha256()
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except (OSError, HTTPException) as error:
        raise _offline(weights, path, error) from error
    with response, atomic_path(path) as temporary:
        length = int(response.headers.get("Content-Length") or 0) or None
        with (
            temporary.open("wb") as file,
            progress(label=weights.file_name, total=length, unit="B", scale=True) as bar,
        ):
            while block := _read_block(response, weights, path):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
        _check_download(weights, temporary, length, digest.hexdigest())
    if not weights.sha256:
        with atomic_path(path.with_name(f"{path.name}.sha256")) as note:
            note.write_text(digest.hexdigest() + "\n")


def _check_download(
    weights: PretrainedWeights, path: Path, length: int | None, sha256: str
) -> None:
    """Checks a download before it gets its name in the cache."""
    size = path.stat().st_size
    if length is not None and size != length:
        raise ModelError(
            f"the download of {weights.url} was cut off after {size:,} of {length:,} bytes; try "
            "again"
        )
    if not sha256.startswith(weights.sha256):
        raise ModelError(
            f"{weights.url} gave a file whose SHA-256 begins {sha256[:8]}, expected "
            f"{weights.sha256}; a proxy may have changed it, or it was cut off"
        )
    if not weights.sha256:
        # Here, because it imports Keras, and `landcover train` looks for weights before that.
        from landcover_tf.models.weight_files import read_tensors

        try:
            read_tensors(path)
        except ModelError as error:
            raise ModelError(
                f"{weights.url} gave a file that cannot be read as weights; a proxy may have "
                "changed it, or it was cut off; try again"
            ) from error


def _read_block(response: Any, weights: PretrainedWeights, path: Path) -> bytes:
    try:
        return bytes(response.read(1 << 20))
    except (OSError, HTTPException) as error:
        raise _offline(weights, path, error) from error


def _no_cache(error: Exception) -> ModelError:
    return ModelError(f"cannot use the cache of downloaded weights ({error}); {_OTHER_CACHE}")


def _offline(weights: PretrainedWeights, path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"cannot download {weights.file_name} ({getattr(error, 'reason', None) or error}): fetch "
        f"{weights.url} on a connected machine and pass --encoder-weights FILE or put it into "
        f"{path.parent}, or train from random weights with --encoder-weights none and without "
        "--encoder-lr-factor 0"
    )
