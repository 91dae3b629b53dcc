"""Settings of `landcover fetch`."""

from dataclasses import dataclass
from pathlib import Path

from landcover_tf.configs import flag_ranges
from landcover_tf.errors import ConfigError


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
    """At most so many products per tile, those that see most of it without clouds."""
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
            flag_ranges.day_of(flag, text)
