"""What products, and what else of Level-1C there is, are called on disk."""

import re
from collections.abc import Collection
from pathlib import Path


def product_folder(path: Path) -> Path:
    """Returns the SAFE folder of a file that GDAL or SNAP open a product by, else the path."""
    if path.name != "manifest.safe" and not re.fullmatch(r"MTD_MSIL[12][AC]\.xml", path.name):
        return path
    # Scenes and maps take the folder's name, which "." and ".." are not.
    return path.parent if path.parent.name not in ("", "..") else path.parent.resolve()


def other_layout(names: Collection[str]) -> str | None:
    """Returns what else of Level-1C holds files of these names, and what to get instead."""
    if any(name.startswith("S2") and "_MTD_SAFL1C" in name for name in names):
        return (
            "in the format used before 6 December 2016, which holds several tiles; download the "
            "reprocessed (Collection 1) products of the same date instead"
        )
    if "B01.jp2" in names and {"metadata.xml", "tileInfo.json"} & {*names}:
        return (
            "a tile as the bucket sentinel-s2-l1c has it, without the product's metadata; download "
            "the SAFE product instead"
        )
    return None


def names_tar(name: str) -> str | None:
    """Returns what is before .tar, .tar.gz or .tgz in the name of a Sentinel-2 file, or None."""
    match = re.fullmatch(r"(S2[A-Z]_.+?)\.(?:tar|tar\.gz|tgz)", name, re.IGNORECASE)
    return match[1] if match else None
