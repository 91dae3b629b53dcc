"""Products and labels found on public servers, listed or downloaded."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from landcover_tf.configs import config_files
from landcover_tf.configs.flag_ranges import day_of
from landcover_tf.sentinel2.fetch_bucket import Bucket, RemoteProduct
from landcover_tf.sentinel2.fetch_config import FetchConfig
from landcover_tf.sentinel2.fetch_http import HttpClient
from landcover_tf.sentinel2.fetch_search import Wanted, search_bucket, search_stac
from landcover_tf.sentinel2.fetch_worldcover import WorldCover
from landcover_tf.sentinel2.tiles import Tile, parse_tile
from landcover_tf.system import locks
from landcover_tf.system.files import read_json, write_json

ATTRIBUTION = (
    "Contains modified Copernicus Sentinel data.",
    "ESA WorldCover (CC BY 4.0): (c) ESA WorldCover project / Contains modified Copernicus "
    "Sentinel data processed by ESA WorldCover consortium.",
)


def fetch_products(config: FetchConfig) -> list[RemoteProduct]:
    """Downloads products and the labels under them, and returns the products.

    With `dry_run` they are only listed. None is returned where none fits, which is told.

    Raises:
        LandCoverError: A tile is none, a server does not answer, or a file cannot be written.
    """
    wanted = Wanted(
        start=day_of("--start", config.start),
        end=day_of("--end", config.end),
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
        return []
    # Labels only where an image comes.
    pictured = [tile for tile in tiles if any(p.tile == tile.name for p in products)]
    names = maps.names(pictured) if config.worldcover else []
    if config.dry_run:
        _print_plan(bucket, maps, products, names)
    else:
        _download(config, bucket, maps, products, names)
    return products


def _search(config: FetchConfig, bucket: Bucket, tile: Tile, wanted: Wanted) -> list[RemoteProduct]:
    if config.stac_url:
        return search_stac(config.stac_url, config.stac_collection, tile, wanted, bucket)
    return search_bucket(bucket, tile, wanted)


def _print_plan(
    bucket: Bucket, maps: WorldCover, products: list[RemoteProduct], names: list[str]
) -> None:
    total = 0
    for product in products:
        size = sum(file.size_bytes for file in bucket.files(product))
        total += size
        covered = product.covered_fraction
        seen = "" if covered is None else f"  {100 * covered:3.0f} % of the tile"
        clouds = f"{product.cloud_percentage:5.1f} % cloud"
        print(f"{product.name}  {clouds}{seen}  {size / 1e6:8.1f} MB")
    for name in names:
        known = maps.size_bytes(name)
        total += known or 0
        print(f"{name}  {'open sea, no file' if known is None else f'{known / 1e6:8.1f} MB'}")
    print(f"{len(products)} products, {total / 1e9:.2f} GB; nothing was downloaded")


def _download(
    config: FetchConfig,
    bucket: Bucket,
    maps: WorldCover,
    products: list[RemoteProduct],
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
