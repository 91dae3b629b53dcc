"""The 13 bands of Sentinel-2 Level-1C, addressed by name and never by position."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from landcover_tf.errors import RasterError


@dataclass(frozen=True, kw_only=True)
class Band:
    """One spectral band."""

    name: str
    """File name form, for example B01 or B8A."""
    center_nm: float
    """Centre wavelength of Sentinel-2A in nm; the product's XML has its own satellite's."""
    width_nm: float
    """Bandwidth in nm."""
    resolution_m: int
    """Native pixel size: 10, 20 or 60 m."""
    title: str
    """Plain-English name."""

    @property
    def xml_name(self) -> str:
        """The name in product metadata: B1 for B01, B8A for B8A."""
        return f"B{self.name[1:].lstrip('0')}"


def _band(name: str, center_nm: float, width_nm: float, resolution_m: int, title: str) -> Band:
    return Band(
        name=name, center_nm=center_nm, width_nm=width_nm, resolution_m=resolution_m, title=title
    )


# Centre wavelengths: Spectral_Information of S2A product metadata; widths: ESA Sentinel-2 MSI
# technical guide. The order is the XML's, which every 13-band weights file uses.
SENTINEL2_L1C: tuple[Band, ...] = (
    _band("B01", 442.7, 20, 60, "coastal aerosol"),
    _band("B02", 492.7, 65, 10, "blue"),
    _band("B03", 559.8, 35, 10, "green"),
    _band("B04", 664.6, 30, 10, "red"),
    _band("B05", 704.1, 15, 20, "red edge 1"),
    _band("B06", 740.5, 15, 20, "red edge 2"),
    _band("B07", 782.8, 20, 20, "red edge 3"),
    _band("B08", 832.8, 115, 10, "near infrared"),
    _band("B8A", 864.7, 20, 20, "narrow near infrared"),
    _band("B09", 945.1, 20, 60, "water vapour"),
    _band("B10", 1373.5, 30, 60, "cirrus"),
    _band("B11", 1613.7, 90, 20, "short-wave infrared 1"),
    _band("B12", 2202.4, 180, 20, "short-wave infrared 2"),
)
BAND_NAMES: tuple[str, ...] = tuple(band.name for band in SENTINEL2_L1C)


def band(name: str) -> Band:
    """Returns the Sentinel-2 band of that name; accepts B1 and b1 for B01.

    Raises:
        RasterError: No such band.
    """
    for candidate in SENTINEL2_L1C:
        if name.upper() in (candidate.name, candidate.xml_name):
            return candidate
    raise RasterError(f"expected a Sentinel-2 band, one of {', '.join(BAND_NAMES)}; got {name!r}")


# GDAL, frmts/sentinel2: the names of bands in Level-1C, Level-2A and what is copied from them.
_GDAL_NAME = re.compile(r"(B\d{1,2}A?), central wavelength \d+ nm")


def plain_name(described: str) -> str:
    """Returns B04 for GDAL's "B4, central wavelength 665 nm", and any other name as it is."""
    match = _GDAL_NAME.fullmatch(described)
    if match:
        for candidate in SENTINEL2_L1C:
            if match[1] in (candidate.name, candidate.xml_name):
                return candidate.name
    return described


# Common names of the STAC electro-optical extension, how they are shortened, and how Earth Search
# numbers the red edge; `rededge` alone is left out, for Sentinel-2 has three bands there.
_COMMON_NAMES = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05",
    "rededge2": "B06", "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09",
    "cirrus": "B10", "swir16": "B11", "swir1": "B11", "swir22": "B12", "swir2": "B12",
}  # fmt: skip
_LETTERS = {"b": "B02", "g": "B03", "r": "B04"}
_OTHER_FORMS = {form.lower(): b.name for b in SENTINEL2_L1C for form in (b.name, b.xml_name)}


def sentinel2_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the Sentinel-2 band that each name stands for: B04 for red; others stay, as plain.

    Letters count where r, g and b are all there, B4 for B04 beside a B8A, which Landsat has not.
    Of several names for one band, that of Sentinel-2 or else the first has it, the others stay.
    """
    plain = [plain_name(name) for name in names]
    lower, found = [name.lower() for name in plain], list[str]()
    known = _COMMON_NAMES | (_LETTERS if set(_LETTERS) <= set(lower) else {})
    known |= _OTHER_FORMS if "b8a" in lower else {}
    for name, key in zip(plain, lower, strict=True):
        meant = known.get(key, name)
        found.append(name if meant in plain or meant in found else meant)
    return tuple(found)


def counterparts(wanted: Sequence[str], available: Sequence[str]) -> dict[str, str]:
    """Returns the one of `available` that each wanted band is; bands without one are left out.

    Bands of one name belong together, else those that stand for one band of Sentinel-2.
    """
    found = {name: name for name in wanted if name in available}
    meant = zip(sentinel2_names(available), available, strict=True)
    free = {band_name: name for band_name, name in meant if name not in found}
    for name, band_name in zip(wanted, sentinel2_names(wanted), strict=True):
        if name not in found and band_name in free:
            found[name] = free.pop(band_name)
    return found


def same_name(described: str, wanted: Sequence[str]) -> str:
    """Returns the one of `wanted` that a band is, in whatever case and form both are named.

    A band that is none of them keeps its name, in plain form.
    """
    if described in wanted:
        return described
    plain, forms = plain_name(described), _forms(described)
    found = [name for name in wanted if forms & _forms(name)]
    return min(found, key=lambda name: name.lower() != plain.lower(), default=plain)


def _forms(name: str) -> set[str]:
    """Returns a name in small letters, and with a leading zero where it is a Sentinel-2 band's."""
    forms = {plain_name(name).lower()}
    with suppress(RasterError):
        forms.add(band(plain_name(name)).name.lower())
    return forms


def positions(wanted: Sequence[str], available: Sequence[str], where: str) -> list[int]:
    """Returns the position of each wanted band in `available`.

    Args:
        wanted: Band names in the order needed.
        available: Band names in the order found; must be unique.
        where: The file, for the error message.

    Raises:
        RasterError: A wanted band is missing or a name occurs twice.
    """
    if len(set(available)) != len(available):
        raise RasterError(f"{where} names a band twice: {', '.join(available)}")
    missing = [name for name in wanted if name not in available]
    if missing:
        raise RasterError(
            f"{where} lacks band {', '.join(missing)}; it has {', '.join(available) or 'none'}"
        )
    return [list(available).index(name) for name in wanted]
