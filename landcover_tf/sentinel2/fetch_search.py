"""Which products to fetch: by tile, dates and clouds, from the bucket or a STAC endpoint."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from landcover_tf.errors import ConfigError, ServerError
from landcover_tf.sentinel2.fetch_bucket import Bucket, RemoteProduct, is_product_name
from landcover_tf.sentinel2.fetch_http import NotFoundError
from landcover_tf.sentinel2.tiles import Tile
from landcover_tf.system.progress import progress


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a search is for."""

    start: date
    """First day, UTC."""
    end: date
    """Last day, included."""
    max_cloud: float
    """Largest cloud cover of the whole product in percent."""
    limit: int | None = None
    """At most so many products per tile, those with the most clear ground."""

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ConfigError(f"the end {self.end} lies before the start {self.start}")
        if not 0 <= self.max_cloud <= 100:
            raise ConfigError(f"max_cloud must be in [0, 100] percent, got {self.max_cloud}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit must be at least 1, got {self.limit}")

    def on_day(self, product: RemoteProduct) -> bool:
        """Returns whether the product was sensed on a day wanted."""
        return self.start <= product.sensing_time.date() <= self.end


def search_bucket(bucket: Bucket, tile: Tile, wanted: Wanted) -> list[RemoteProduct]:
    """Returns the wanted products of a tile by looking into each candidate's metadata.

    Products without metadata are told on stderr and left out.

    Raises:
        ServerError: The bucket does not answer as it should.
    """
    days = [product for product in bucket.products(tile) if wanted.on_day(product)]
    return choose(latest_processings(_with_clouds(days, bucket)), wanted)


def search_stac(
    endpoint: str, collection: str, tile: Tile, wanted: Wanted, bucket: Bucket
) -> list[RemoteProduct]:
    """Returns the wanted products of a tile that a STAC API knows and the bucket has.

    Products that the bucket lacks or has in part are told on stderr and left out. Only place and
    days go into the request, which every STAC API understands; tile and clouds are looked at here,
    because endpoints differ in how they filter. Clouds that an item does not tell are looked up in
    the bucket.

    Raises:
        ServerError: The endpoint or the bucket does not answer as it should.
    """
    try:
        from pystac import STACError
        from pystac_client import Client
        from pystac_client.errors import ClientTypeError
        from pystac_client.exceptions import APIError
    except ImportError as error:
        raise ConfigError(
            "searching a STAC endpoint needs pystac-client; install landcover-tf[fetch]"
        ) from error
    try:
        search = Client.open(endpoint).search(
            collections=[collection],
            datetime=f"{wanted.start}T00:00:00Z/{wanted.end}T23:59:59Z",
            # All of the tile: at the swath's edge, an item's geometry is a part of it.
            intersects=tile.outline_degrees,
        )
        items = list(search.items_as_dicts())
        found = [product for item in items if (product := _product_of(item, tile)) is not None]
    except (APIError, OSError, ValueError, NotImplementedError) as error:
        raise ServerError(f"STAC endpoint {endpoint} failed: {error}") from error
    # What pystac raises of any other JSON.
    except (ClientTypeError, STACError, LookupError, TypeError, AttributeError) as error:
        raise ServerError(
            f"{endpoint} does not answer as the root of a STAC API does ({error!r}); check "
            "--stac-url"
        ) from error
    days = [p for p in found if p.tile == tile.name and wanted.on_day(p)]
    return _choose_complete(days, wanted, bucket)


def latest_processings(products: Iterable[RemoteProduct]) -> list[RemoteProduct]:
    """Returns the products of each sight's highest baseline, in order of time.

    There may be two: where parts of a data take meet, each product holds the pixels of one, which
    only their metadata tell; `prepare` leaves out what is there twice.
    """
    held = list(products)
    best: dict[tuple[str, str, str], tuple[int, int]] = {}
    for product in held:
        best[product.sight] = max(product.baseline, best.get(product.sight, (0, 0)))
    latest = [product for product in held if product.baseline == best[product.sight]]
    return sorted(latest, key=lambda product: (product.sensing_time, product.name))


def choose(products: Sequence[RemoteProduct], wanted: Wanted) -> list[RemoteProduct]:
    """Returns the products that are clear enough.

    Where there is a limit, they are those that see the largest share of the tile without clouds:
    at the swath's edge, a clear product may be a sliver.
    """
    clear = [
        (_clear_fraction(product.cloud_percentage, product.covered_fraction), product)
        for product in products
        if product.cloud_percentage is not None and product.cloud_percentage <= wanted.max_cloud
    ]
    clear.sort(key=lambda pair: (-pair[0], pair[1].name))
    chosen = [product for _, product in clear[: wanted.limit]]
    return sorted(chosen, key=lambda product: (product.sensing_time, product.name))


def _clear_fraction(cloud_percentage: float, covered_fraction: float | None) -> float:
    """Returns the share of the tile seen without clouds; unknown covers count as all of it."""
    covered = 1.0 if covered_fraction is None else covered_fraction
    return covered * (1 - cloud_percentage / 100)


def _with_clouds(days: Sequence[RemoteProduct], bucket: Bucket) -> list[RemoteProduct]:
    """Returns the products, those of the highest baselines with their cloud cover.

    Where the highest baseline of a sight is incomplete, the next one takes its place.
    """
    held = {product.name: product for product in days}
    while unknown := [p for p in latest_processings(held.values()) if p.cloud_percentage is None]:
        label = f"cloud cover {unknown[0].tile}"
        for product in progress(unknown, label=label, unit="product"):
            try:
                held[product.name] = bucket.described(product)
            except NotFoundError as error:
                del held[product.name]
                _tell_left_out(product, error)
    return list(held.values())


def _choose_complete(
    days: Sequence[RemoteProduct], wanted: Wanted, bucket: Bucket
) -> list[RemoteProduct]:
    """Returns the choice among the products that the bucket has; only the chosen are looked up."""
    complete: set[str] = set()
    while True:
        days = _with_clouds(days, bucket)
        chosen = choose(latest_processings(days), wanted)
        for product in chosen:
            if product.name not in complete and _is_complete(bucket, product):
                complete.add(product.name)
        missing = [product for product in chosen if product.name not in complete]
        if not missing:
            return chosen
        days = [product for product in days if product not in missing]


def _is_complete(bucket: Bucket, product: RemoteProduct) -> bool:
    try:
        bucket.files(product)
    except NotFoundError as error:
        _tell_left_out(product, error)
        return False
    return True


def _tell_left_out(product: RemoteProduct, error: NotFoundError) -> None:
    print(f"note: {product.name} is left out: {error}", file=sys.stderr)


def _product_of(item: dict[str, Any], tile: Tile) -> RemoteProduct | None:
    """Returns the product of a STAC item; None where it names none.

    The Copernicus Data Space uses the product name as the item's id; Earth Search has it in
    s2:product_uri.
    """
    properties = item.get("properties", {})
    clouds = properties.get("eo:cloud_cover")
    for name in (properties.get("s2:product_uri"), item.get("id")):
        if isinstance(name, str) and is_product_name(name):
            product = RemoteProduct(
                name=name.removesuffix(".SAFE"),
                cloud_percentage=None if clouds is None else float(clouds),
            )
            covered = tile.covered_fraction(item.get("geometry") or {})
            return replace(product, covered_fraction=covered)
    return None
