"""Identity of a simulated product: its names, times and grid."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from landcover_tf.bands import SENTINEL2_L1C
from landcover_tf.sentinel2.tiles import Tile

NODATA, SATURATED, QUANTIFICATION = 0, 65535, 10000
DN_MAX = 32767
"""Largest value of the 15-bit code streams; SATURATED itself cannot occur in them."""


@dataclass(frozen=True, kw_only=True)
class ProductIdentity:
    """What names and metadata of a product are made of."""

    satellite: str
    """S2A, S2B or S2C."""
    baseline: tuple[int, int]
    """Processing baseline, for example (5, 11)."""
    tile: Tile
    size_px: int
    """Height and width at 10 m, a multiple of 6."""
    sensing_time: datetime
    """When the tile was seen, UTC."""
    relative_orbit: int = 93

    def __post_init__(self) -> None:
        if not re.fullmatch(r"S2[A-Z]", self.satellite):
            raise ValueError(f"satellite must be S2A to S2Z, got {self.satellite!r}")
        if self.size_px < 60 or self.size_px % 6:
            raise ValueError(
                f"size_px must be a multiple of 6 (whole 60 m pixels) from 60, got {self.size_px}"
            )

    @property
    def has_offset(self) -> bool:
        """Whether digital numbers are shifted and masks are rasters (baseline 04.00 on)."""
        return self.baseline >= (4, 0)

    @property
    def offset(self) -> int:
        """RADIO_ADD_OFFSET of every band."""
        return -1000 if self.has_offset else 0

    @property
    def baseline_text(self) -> str:
        """As in the XML, for example 05.11."""
        return f"{self.baseline[0]:02d}.{self.baseline[1]:02d}"

    @property
    def generation_time(self) -> datetime:
        """When the ground segment made the product: half an hour after sensing."""
        return self.sensing_time + timedelta(minutes=30)

    @property
    def datatake_time(self) -> datetime:
        """Start of the datatake: some seconds before the satellite reached the tile."""
        return self.sensing_time - timedelta(seconds=9)

    @property
    def absolute_orbit(self) -> int:
        """An orbit number that fits the relative one."""
        return 20020 + self.relative_orbit

    @property
    def name(self) -> str:
        """Product name with .SAFE."""
        return (
            f"{self.satellite}_MSIL1C_{compact(self.datatake_time)}"
            f"_N{self.baseline[0]:02d}{self.baseline[1]:02d}_R{self.relative_orbit:03d}"
            f"_T{self.tile.name}_{compact(self.generation_time)}.SAFE"
        )

    @property
    def granule(self) -> str:
        """Name of the one granule folder."""
        return f"L1C_T{self.tile.name}_A{self.absolute_orbit:06d}_{compact(self.sensing_time)}"

    @property
    def datastrip(self) -> str:
        """Name of the datastrip folder."""
        return f"DS_SIMU_{compact(self.generation_time)}_S{compact(self.sensing_time)}"

    @property
    def stem(self) -> str:
        """Start of the image files' names."""
        return f"T{self.tile.name}_{compact(self.datatake_time)}"

    def long_id(self, what: str) -> str:
        """Returns an identifier of the old form, which metadata still use: MSI_L1C_TL, .._DS."""
        return (
            f"{self.satellite}_OPER_MSI_L1C_{what}_SIMU_{compact(self.generation_time)}"
            f"_A{self.absolute_orbit:06d}_T{self.tile.name}_N{self.baseline_text}"
        )

    def image_path(self, band_name: str) -> str:
        """Returns the path of an image inside the SAFE folder, for B8A, TCI and the like."""
        return f"GRANULE/{self.granule}/IMG_DATA/{self.stem}_{band_name}.jp2"

    def mask_path(self, kind: str, band_name: str) -> str:
        """Returns the path of a mask inside the SAFE folder, for example MSK_DETFOO of B02."""
        suffix = "jp2" if self.has_offset else "gml"
        return f"GRANULE/{self.granule}/QI_DATA/{kind}_{band_name}.{suffix}"

    def mask_files(self) -> list[tuple[str, int | None, str]]:
        """Returns kind, band id (None for the whole tile) and path of every mask."""
        kinds = (
            ("MSK_DETFOO", "MSK_QUALIT")
            if self.has_offset
            else ("MSK_DEFECT", "MSK_DETFOO", "MSK_NODATA", "MSK_SATURA", "MSK_TECQUA")
        )
        files: list[tuple[str, int | None, str]] = [
            (kind, index, self.mask_path(kind, band.name))
            for index, band in enumerate(SENTINEL2_L1C)
            for kind in kinds
        ]
        whole = "MSK_CLASSI" if self.has_offset else "MSK_CLOUDS"
        return [*files, (whole, None, self.mask_path(whole, "B00"))]


def parse_baseline(text: str) -> tuple[int, int]:
    """Returns 05.11 as (5, 11).

    Raises:
        ValueError: It has another form, or is older than this product format (02.04).
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d{2})", text)
    baseline = (int(match[1]), int(match[2])) if match else (0, 0)
    if baseline < (2, 4):
        raise ValueError(f"baseline must be like 05.11 and at least 02.04, got {text!r}")
    return baseline


def compact(time: datetime) -> str:
    """Returns a time as in product names, for example 20210622T092031."""
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def iso(time: datetime) -> str:
    """Returns a time as in metadata, for example 2021-06-22T09:20:31.024Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
