"""Google's public Sentinel-2 bucket: which products and files it holds, and their download."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from defusedxml.ElementTree import ParseError, fromstring

from landcover_tf.errors import ServerError
from landcover_tf.sentinel2.fetch_http import HttpClient, NotFoundError, md5_of_base64
from landcover_tf.sentinel2.tiles import Tile, footprint_of, parse_tile
from landcover_tf.system.files import bytes_in, require_space
from landcover_tf.system.progress import progress

_NAME = re.compile(
    r"(?P<satellite>S2[A-Z])_MSIL1C_(?P<start>\d{8}T\d{6})_N(?P<major>\d{2})(?P<minor>\d{2})"
    r"_R\d{3}_T(?P<tile>\d{2}[C-X][A-Z]{2})_\d{8}T\d{6}(?:\.SAFE)?"
)
# Objects that stand for empty folders in this bucket; the names are those of old Hadoop tools.
_FOLDER_MARK = "_$folder$"


@dataclass(frozen=True, kw_only=True)
class RemoteProduct:
    """A Level-1C product that a server has."""

    name: str
    """Product name without .SAFE."""
    cloud_percentage: float | None = None
    """Cloud_Coverage_Assessment, None before it is known."""
    covered_fraction: float | None = None
    """Share of the tile that has pixels, None where it is not known."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"expected the name of a Level-1C product, got {self.name!r}")

    @property
    def _parts(self) -> "re.Match[str]":
        match = _NAME.fullmatch(self.name)
        if match is None:
            raise ValueError(self.name)
        return match

    @property
    def sensing_time(self) -> datetime:
        """Start of the datatake, UTC."""
        return datetime.strptime(self._parts["start"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)

    @property
    def tile(self) -> str:
        """MGRS tile, for example 34SEH."""
        return self._parts["tile"]

    @property
    def baseline(self) -> tuple[int, int]:
        """Processing baseline, for example (5, 11)."""
        return int(self._parts["major"]), int(self._parts["minor"])

    @property
    def sight(self) -> tuple[str, str, str]:
        """Satellite, start and tile: the same for all processings of one sight."""
        return self._parts["satellite"], self._parts["start"], self.tile


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a product."""

    path: str
    """Path relative to the SAFE folder."""
    size_bytes: int
    md5: str | None
    """Hexadecimal, None where the listing tells none."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket in the layout of gs://gcp-public-data-sentinel-2."""

    client: HttpClient
    listing_url: str = "https://storage.googleapis.com/storage/v1/b/gcp-public-data-sentinel-2/o"
    """Where the objects are listed (Google's JSON API)."""
    download_url: str = "https://storage.googleapis.com/gcp-public-data-sentinel-2"
    """Where the objects lie."""

    def products(self, tile: Tile) -> list[RemoteProduct]:
        """Returns the Level-1C products of a tile in order of sensing time.

        Raises:
            ServerError: The listing fails or is not what it should be.
        """
        names = [
            PurePosixPath(prefix).name.removesuffix(".SAFE")
            for page in self._pages(_tile_prefix(tile.name), delimiter="/")
            for prefix in page.get("prefixes", [])
        ]
        # Products before December 2016 have other names and another layout: not ours to read.
        found = [RemoteProduct(name=name) for name in names if _NAME.fullmatch(name)]
        return sorted(found, key=lambda product: (product.sensing_time, product.name))

    def files(self, product: RemoteProduct) -> list[RemoteFile]:
        """Returns the files of a product.

        Raises:
            NotFoundError: The bucket does not have the product.
            ServerError: The listing fails, or names a file outside the product.
        """
        prefix = _product_prefix(product)
        files = [
            RemoteFile(
                path=_inside(item["name"], prefix),
                size_bytes=int(item["size"]),
                md5=md5_of_base64(item.get("md5Hash")),
            )
            for page in self._pages(prefix)
            for item in page.get("items", [])
            if not item["name"].endswith((_FOLDER_MARK, "/"))
        ]
        if not any(file.path == "MTD_MSIL1C.xml" for file in files):
            raise NotFoundError(
                f"{self.download_url} has no complete {product.name}; try another provider of "
                "Sentinel-2 Level-1C, such as the Copernicus Data Space"
            )
        return files

    def described(self, product: RemoteProduct) -> RemoteProduct:
        """Returns the product with what its own metadata tell of clouds and of its footprint.

        Raises:
            ServerError: The metadata cannot be had or do not tell.
        """
        url = self._url(product, "MTD_MSIL1C.xml")
        try:
            metadata = fromstring(self.client.get_bytes(url))
        except ParseError as error:
            raise ServerError(f"{url} is not XML: {error}") from error
        clouds = metadata.findtext(".//Cloud_Coverage_Assessment")
        if clouds is None:
            raise ServerError(f"{url} has no Cloud_Coverage_Assessment")
        footprint = footprint_of(metadata.findtext(".//EXT_POS_LIST") or "")
        return replace(
            product,
            cloud_percentage=float(clouds),
            covered_fraction=parse_tile(product.tile).covered_fraction(footprint),
        )

    def download(self, product: RemoteProduct, folder: Path, *, jobs: int) -> list[RemoteFile]:
        """Downloads a product as `folder`/<name>.SAFE, which appears only when it is complete.

        Args:
            product: The product.
            folder: Where SAFE folders are kept.
            jobs: Files fetched at a time.

        Returns:
            The product's files.

        Raises:
            ServerError: A file does not come.
            OutputError: The disk is full or refuses.
        """
        files = self.files(product)
        target = folder / f"{product.name}.SAFE"
        partial = folder / f".{product.name}.SAFE.part"
        total = sum(file.size_bytes for file in files)
        # A finished folder is checked in place and only what is wrong is fetched again.
        place = target if target.exists() else partial
        require_space(folder, total - bytes_in(place), "the product")
        with (
            progress(label=product.name[11:44], total=total, unit="B", scale=True) as bar,
            ThreadPoolExecutor(jobs) as pool,
        ):
            running = [
                pool.submit(
                    self.client.download,
                    self._url(product, file.path),
                    place / file.path,
                    size_bytes=file.size_bytes,
                    md5=file.md5,
                    advance=bar.update,
                )
                for file in files
            ]
            try:
                for one in running:
                    one.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if place == partial:
            partial.replace(target)
        return files

    def _url(self, product: RemoteProduct, path: str) -> str:
        return f"{self.download_url}/{_product_prefix(product)}{path}"

    def _pages(self, prefix: str, delimiter: str | None = None) -> Iterator[dict[str, Any]]:
        """Yields the pages of a listing."""
        fields = "prefixes,items(name,size,md5Hash),nextPageToken"
        params = {"prefix": prefix, "fields": fields}
        if delimiter:
            params["delimiter"] = delimiter
        while True:
            page = self.client.get_json(self.listing_url, params)
            if not isinstance(page, dict):
                raise ServerError(f"{self.listing_url} did not answer with a listing")
            yield page
            if not page.get("nextPageToken"):
                return
            params["pageToken"] = page["nextPageToken"]


def is_product_name(name: str) -> bool:
    """Returns whether `name` is a Level-1C product's, with or without .SAFE."""
    return _NAME.fullmatch(name) is not None


def _tile_prefix(tile: str) -> str:
    return f"tiles/{tile[:2]}/{tile[2]}/{tile[3:]}/"


def _product_prefix(product: RemoteProduct) -> str:
    return f"{_tile_prefix(product.tile)}{product.name}.SAFE/"


def _inside(name: str, prefix: str) -> str:
    """Returns an object's path below `prefix`, refusing what would leave it on disk."""
    path = PurePosixPath(name.removeprefix(prefix))
    if not name.startswith(prefix) or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ServerError(f"the listing names {name!r}, which does not lie in {prefix}")
    return str(path)
