"""Downloads Level-1C products and WorldCover labels: `python -m landcover_tf.fetch`."""

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_tf import cli, config_files, flag_ranges, locks
from landcover_tf.errors import ConfigError
from landcover_tf.files import read_json, write_json

if TYPE_CHECKING:
    from landcover_tf.sentinel2.fetch_bucket import Bucket, RemoteProduct
    from landcover_tf.sentinel2.fetch_search import Wanted
    from landcover_tf.sentinel2.fetch_worldcover import WorldCover
    from landcover_tf.sentinel2.tiles import Tile

ATTRIBUTION = (
    "Contains modified Copernicus Sentinel data.",
    "ESA WorldCover (CC BY 4.0): (c) ESA WorldCover project / Contains modified Copernicus "
    "Sentinel data processed by ESA WorldCover consortium.",
)


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Download Sentinel-2 Level-1C products and ESA WorldCover labels; no account is needed.

    Products come from Google's public bucket, labels from ESA's. The same command continues an
    interrupted download and checks what is there. A STAC endpoint (--stac-url) needs the extra
    landcover-tf[fetch].

    The listings and downloads were tried against a local server that speaks the documented
    interfaces, never against the live services.
    """

    tile: tuple[str, ...]
    """One or more MGRS tiles, for example 34SEH."""
    start: str
    """First day, YYYY-MM-DD, UTC."""
    end: str
    """Last day, included."""
    output_dir: Path
    """Folder for products/, worldcover/, fetch.json and sources.json."""
    max_cloud: float = 10.0
    """Largest cloud cover of a product in percent, by its own metadata."""
    limit: int | None = None
    """At most so many products per tile, the clearest ones."""
    worldcover: bool = True
    """Fetch the WorldCover tiles under the Sentinel-2 tiles, too."""
    worldcover_year: int = 2021
    """Year of the labels, 2020 or 2021; take images of the same year."""
    dry_run: bool = False
    """List what would be fetched, with sizes, and fetch nothing but metadata."""
    jobs: int = 4
    """Files downloaded at a time."""
    attempts: int = 6
    """How often one file is tried."""
    retry_wait_s: float = 1.0
    """Wait before the second attempt in seconds; it doubles with each."""
    timeout_s: float = 60.0
    """Longest silence of a server in seconds."""
    stac_url: str | None = None
    """A STAC API to search instead of looking into every product's metadata, for example
    https://stac.dataspace.copernicus.eu/v1/."""
    stac_collection: str = "sentinel-2-l1c"
    """The collection to search there."""
    listing_url: str = "https://storage.googleapis.com/storage/v1/b/gcp-public-data-sentinel-2/o"
    """Where the bucket's objects are listed."""
    download_url: str = "https://storage.googleapis.com/gcp-public-data-sentinel-2"
    """Where the bucket's objects lie."""
    worldcover_url: str = "https://esa-worldcover.s3.eu-central-1.amazonaws.com"
    """Where the WorldCover tiles lie."""

    def __post_init__(self) -> None:
        if not self.tile:
            raise ConfigError("--tile needs at least one MGRS tile, for example 34SEH")
        flag_ranges.at_least(self, 1, "jobs", "attempts")
        for flag, text in (("--start", self.start), ("--end", self.end)):
            _day(flag, text)


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    return cli.run(FetchConfig, _program, argv, prog="landcover fetch")


def _program(config: FetchConfig) -> int:
    from landcover_tf.sentinel2.fetch_bucket import Bucket
    from landcover_tf.sentinel2.fetch_http import HttpClient
    from landcover_tf.sentinel2.fetch_search import Wanted
    from landcover_tf.sentinel2.fetch_worldcover import WorldCover
    from landcover_tf.sentinel2.tiles import parse_tile

    wanted = Wanted(
        start=_day("--start", config.start),
        end=_day("--end", config.end),
        max_cloud=config.max_cloud,
        limit=config.limit,
    )
    client = HttpClient(
        attempts=config.attempts, first_wait_s=config.retry_wait_s, timeout_s=config.timeout_s
    )
    bucket = Bucket(client=client, listing_url=config.listing_url, download_url=config.download_url)
    maps = WorldCover(client=client, year=config.worldcover_year, url=config.worldcover_url)
    tiles = [parse_tile(name) for name in config.tile]
    products = [p for tile in tiles for p in _search(config, bucket, tile, wanted)]
    if not products:
        print(
            f"no Level-1C product of {', '.join(config.tile)} from {config.start} to "
            f"{config.end} has at most {config.max_cloud:g} % cloud",
            file=sys.stderr,
        )
        return 1
    # Labels only where an image comes.
    pictured = [tile for tile in tiles if any(p.tile == tile.name for p in products)]
    names = maps.names(pictured) if config.worldcover else []
    if config.dry_run:
        _print_plan(bucket, maps, products, names)
        return 0
    _download(config, bucket, maps, products, names)
    labels = config.output_dir / "worldcover"
    given: dict[str, str | Path] = {}
    if labels.is_dir():
        given = {"ground_truth": labels, "source_legend": "worldcover"}
    cli.print_next(
        "prepare", sentinel2_dir=config.output_dir / "products", **given, output_dir="scenes"
    )
    return 0


def _search(
    config: FetchConfig, bucket: "Bucket", tile: "Tile", wanted: "Wanted"
) -> "list[RemoteProduct]":
    from landcover_tf.sentinel2.fetch_search import search_bucket, search_stac

    if config.stac_url:
        return search_stac(config.stac_url, config.stac_collection, tile, wanted, bucket)
    return search_bucket(bucket, tile, wanted)


def _print_plan(
    bucket: "Bucket", maps: "WorldCover", products: "list[RemoteProduct]", names: list[str]
) -> None:
    total = 0
    for product in products:
        size = sum(file.size_bytes for file in bucket.files(product))
        total += size
        print(f"{product.name}  {product.cloud_percentage:5.1f} % cloud  {size / 1e6:8.1f} MB")
    for name in names:
        known = maps.size_bytes(name)
        total += known or 0
        print(f"{name}  {'open sea, no file' if known is None else f'{known / 1e6:8.1f} MB'}")
    print(f"{len(products)} products, {total / 1e9:.2f} GB; nothing was downloaded")


def _download(
    config: FetchConfig,
    bucket: "Bucket",
    maps: "WorldCover",
    products: "list[RemoteProduct]",
    names: list[str],
) -> None:
    listing = config.output_dir / "sources.json"
    for product in products:
        with _alone(config.output_dir, product.name):
            files = bucket.download(product, config.output_dir / "products", jobs=config.jobs)
        print(config.output_dir / "products" / f"{product.name}.SAFE")
        _add_source(
            listing,
            {
                "product": product.name,
                "cloud_percentage": product.cloud_percentage,
                "from": bucket.download_url,
                "files": len(files),
                "bytes": sum(file.size_bytes for file in files),
            },
        )
    for name in names:
        with _alone(config.output_dir, name):
            path = maps.download(name, config.output_dir / "worldcover")
        print(path or f"{name}: open sea, no file")
        if path:
            _add_source(listing, {"worldcover": name, "from": maps.address(name)})
    config_files.write_config(config, config.output_dir / "fetch.json")


def _add_source(listing: Path, source: dict[str, object]) -> None:
    """Notes what came from where, beside what earlier downloads to the same folder noted."""
    with _alone(listing.parent, listing.name):
        known = read_json(listing)["sources"] if listing.exists() else []
        if source not in known:
            write_json(listing, {"attribution": ATTRIBUTION, "sources": [*known, source]})


def _alone(folder: Path, name: str) -> AbstractContextManager[int]:
    """Returns a context for one process at a time, so that others may fetch other files."""
    busy = f"another process writes {name} in {folder}; waiting for its end"
    return locks.alone(folder / f".{name}.lock", busy, wait=True)


def _day(flag: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{flag} must be a day as YYYY-MM-DD, got {text!r}") from error


if __name__ == "__main__":
    sys.exit(main())
