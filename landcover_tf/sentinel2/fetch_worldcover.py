"""ESA WorldCover label tiles: their names and their download."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.errors import ConfigError
from landcover_tf.sentinel2.fetch_http import HttpClient, NotFoundError
from landcover_tf.sentinel2.tiles import Tile
from landcover_tf.system.progress import progress

VERSIONS = {2020: "v100", 2021: "v200"}
"""Map versions by year; the two are not comparable for change."""
_CELL_DEGREES = 3
# Corners rounded to 60 m reach some metres into the next cell, which is not worth 100 MB.
_SLIVER_DEGREES = 0.002
# The map covers 60 degrees south to 84 north (WorldCover product user manual).
_SOUTH, _NORTH = -60, 84


@dataclass(frozen=True, kw_only=True)
class WorldCover:
    """A store in the layout of s3://esa-worldcover."""

    client: HttpClient
    year: int = 2021
    url: str = "https://esa-worldcover.s3.eu-central-1.amazonaws.com"

    def __post_init__(self) -> None:
        if self.year not in VERSIONS:
            raise ConfigError(f"WorldCover exists for 2020 and 2021, got {self.year}")

    def names(self, tiles: Iterable[Tile]) -> list[str]:
        """Returns the names of the map tiles that cover Sentinel-2 tiles, without repeats."""
        version = VERSIONS[self.year]
        cells = sorted({cell for tile in tiles for cell in cells_of(tile.bounds_degrees)})
        return [
            f"ESA_WorldCover_10m_{self.year}_{version}_{_cell_name(*cell)}_Map.tif"
            for cell in cells
        ]

    def address(self, name: str) -> str:
        """Returns where a map tile lies."""
        return f"{self.url}/{VERSIONS[self.year]}/{self.year}/map/{name}"

    def size_bytes(self, name: str) -> int | None:
        """Returns a map tile's size, None where there is none: open sea has no tiles."""
        try:
            return int(self.client.head(self.address(name)).get("content-length", 0))
        except NotFoundError:
            return None

    def download(self, name: str, folder: Path) -> Path | None:
        """Downloads a map tile; returns its path, None where there is none.

        Raises:
            ServerError: It does not come.
            OutputError: It cannot be written.
        """
        url = self.address(name)
        try:
            headers = self.client.head(url)
        except NotFoundError:
            return None
        size = int(headers.get("content-length", 0))
        path = folder / name
        with progress(label=name[-15:], total=size, unit="B", scale=True) as bar:
            self.client.download(
                url, path, size_bytes=size, md5=_md5_of_etag(headers), advance=bar.update
            )
        return path


def cells_of(bounds: tuple[float, float, float, float]) -> list[tuple[int, int]]:
    """Returns south-west corners (latitude, longitude) of the 3 degree cells under `bounds`.

    Args:
        bounds: West, south, east, north in degrees; west > east crosses the antimeridian.
    """
    west, south, east, north = bounds
    if west > east:
        east += 360
    west, east = west + _SLIVER_DEGREES, east - _SLIVER_DEGREES
    south, north = max(south + _SLIVER_DEGREES, _SOUTH), min(north - _SLIVER_DEGREES, _NORTH)
    rows = range(_floor(south), math.ceil(north), _CELL_DEGREES)
    cols = range(_floor(west), math.ceil(east), _CELL_DEGREES)
    return [(row, (col + 180) % 360 - 180) for row in rows for col in cols]


def _floor(degrees: float) -> int:
    return math.floor(degrees / _CELL_DEGREES) * _CELL_DEGREES


def _cell_name(latitude: int, longitude: int) -> str:
    rows = f"{'N' if latitude >= 0 else 'S'}{abs(latitude):02d}"
    return f"{rows}{'E' if longitude >= 0 else 'W'}{abs(longitude):03d}"


def _md5_of_etag(headers: dict[str, str]) -> str | None:
    """Returns the MD5 that S3 gives as ETag; objects uploaded in parts have none."""
    etag = headers.get("etag", "").strip('"')
    return etag if re.fullmatch(r"[0-9a-f]{32}", etag) else None
