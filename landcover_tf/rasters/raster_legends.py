"""The legend that a raster's tags or colours name, beside the one that a flag names."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio

from landcover_tf.errors import LegendError
from landcover_tf.legend import legend_names, load_legend
from landcover_tf.rasters.raster_windows import opened

TAG = "legend"
_LONGEST = 40
"""Characters of a tag that are shown."""
_WORLDCOVER_NAME = re.compile(r"ESA_WorldCover_10m_\d{4}_v\d{3}_\w+_Map\.tiff?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ChosenLegend:
    """Which legend the codes of a raster are read in."""

    source: str | Path
    """Name or TOML file."""
    assumed: bool
    """Neither a flag nor a tag names it."""


def choose_legend(
    paths: Sequence[Path], given: str | Path | None, default: str | Path, *, flag: str
) -> ChosenLegend:
    """Returns the legend of rasters: the given one, or that of their tags, or the default.

    Args:
        paths: Rasters of one legend.
        given: Name or TOML file by `flag`, None if there is none.
        default: Name or TOML file where no raster names one.
        flag: For the messages.

    Raises:
        LegendError: A tag contradicts the flag or another tag, or names no legend while no flag
            does.
        RasterError: A raster cannot be read.
    """
    tags = {tag: path for path in reversed(paths) if (tag := legend_tag(path)) is not None}
    own = load_legend(default).name
    known = {tag: path for tag, path in tags.items() if tag in (own, *legend_names())}
    if len(known) > 1:
        found = ", ".join(f"{path} of {tag}" for tag, path in sorted(known.items()))
        raise LegendError(f"rasters of one legend are expected, got {found}; use them one by one")
    if given is not None:
        for tag, path in known.items():
            if load_legend(given).name != tag:
                raise LegendError(
                    f"{path} has a tag for legend {tag}, {flag} says {given}; drop the flag, or "
                    f"correct the tag (gdal_edit.py -mo {TAG}=...)"
                )
        return ChosenLegend(source=given, assumed=False)
    for tag, path in tags.items():
        if tag not in known:
            raise LegendError(
                f"the tag {TAG} of {path}, {shortened(tag)!r}, names none of "
                f"{', '.join(legend_names())}; name its legend with {flag}"
            )
    name = next(iter(known), own)
    return ChosenLegend(source=default if name == own else name, assumed=not known)


def source_legends(
    tags: Mapping[Path, str | None],
    target: str | Path,
    default: str | Path,
    given: str | Path | None = None,
) -> dict[Path, str | Path]:
    """Returns the legend of each label raster, and tells what decided where no flag did.

    It is the given one, or the one that the raster states, or the default, with a warning where its
    tag names no known one.

    Args:
        tags: What `stated_legend` returns, of each raster.
        target: Name or TOML file of the legend that the labels come to.
        default: Name or TOML file of the legend of rasters that state none.
        given: Name or TOML file by `--source-legend`, None if there is none.

    Raises:
        LegendError: A raster states another shipped legend than the given one, or it states none
            and has the file name of an ESA WorldCover map.
    """
    if given is not None:
        _require_no_other(tags, given)
        return dict.fromkeys(tags, given)
    own, shipped = load_legend(target).name, legend_names()
    usual = load_legend(default).name
    found: dict[Path, str | Path] = {}
    for path, tag in tags.items():
        stated = target if tag == own else tag if tag in shipped else None
        found[path] = stated or default
        if not stated and worldcover_by_name(path) not in (None, usual):
            raise LegendError(
                f"{path} has the file name of an ESA WorldCover map; give --source-legend "
                f"worldcover, or --source-legend {default} if its codes are of that"
            )
    for legend in sorted({tag for tag in tags.values() if tag and tag not in (own, usual)}):
        which = _counted([path for path, tag in tags.items() if tag == legend])
        if legend in shipped:
            print(f"note: codes of {which} are read in {legend}, which its tag or colours name")
        else:
            print(
                f"warning: codes of {which} are read in {usual}, though the tag {TAG} says "
                f"{shortened(legend)!r}; --source-legend names another",
                file=sys.stderr,
            )
    if silent := [path for path, tag in tags.items() if tag is None]:
        classes = ", ".join(f"{c.code} {c.name}" for c in load_legend(default).classes[:2])
        print(
            f"note: codes of {_counted(silent)} are read in {usual} ({classes}, ...), because no "
            "tag or colours name their legend; --source-legend names another"
        )
    return found


def legend_tag(path: Path) -> str | None:
    """Returns the tag `legend` of a raster: a name, or any text, such as ESA's list of classes.

    Raises:
        RasterError: The raster cannot be read.
    """
    with opened(path) as raster:
        tag: str | None = raster.tags().get(TAG)
        return tag


def stated_legend(raster: rasterio.DatasetReader) -> str | None:
    """Returns the tag `legend` of open labels; a list of a shipped legend's classes, as its name.

    ESA's WorldCover has such a list, in which not every name is written as in the legend here. What
    Earth Engine, a .vrt or a merge made of it has the colours only, which name a legend too.
    """
    tag: str | None = raster.tags().get(TAG)
    if tag is None:
        return _legend_by_colours(raster)
    if len(tag.split()) < 2:
        return tag
    text = _plain(tag)
    for name in legend_names():
        classes = [f" {c.code}{_plain(c.name)}" for c in load_legend(name).classes]
        if sum(entry in text for entry in classes) > len(classes) / 2:
            return name
    return tag


def worldcover_by_name(path: Path) -> str | None:
    """Returns the legend of ESA's WorldCover where a path ends in the name of a map of it."""
    return "worldcover" if _WORLDCOVER_NAME.fullmatch(path.name) else None


def shortened(tag: str) -> str:
    """Returns a tag on one line, cut when it is long."""
    text = " ".join(tag.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _require_no_other(tags: Mapping[Path, str | None], given: str | Path) -> None:
    """Refuses rasters that state another shipped legend than a given shipped one."""
    name, shipped = load_legend(given).name, legend_names()
    for path, tag in tags.items():
        if name in shipped and tag in shipped and tag != name:
            raise LegendError(
                f"tag or colours of {path} name legend {tag}, --source-legend says {given}; "
                f"drop the flag, or correct the tag (gdal_edit.py -mo {TAG}={name})"
            )


def _legend_by_colours(raster: rasterio.DatasetReader) -> str | None:
    """Returns the shipped legend all of whose codes have its colours in a raster's table."""
    try:
        table = raster.colormap(1)
    except ValueError:  # It has none.
        return None
    for name in legend_names():
        if all(table.get(c.code, ())[:3] == c.rgb for c in load_legend(name).classes):
            return name
    return None


def _counted(paths: Sequence[Path]) -> str:
    return f"{len(paths)} label rasters, {paths[0]} first," if paths[1:] else str(paths[0])


def _plain(text: str) -> str:
    """Returns the words of a text in lower case, with a blank before and after each."""
    return f" {' '.join(re.findall('[a-z0-9]+', text.lower()))} "
