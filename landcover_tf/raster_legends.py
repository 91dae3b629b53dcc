"""The legend that a raster's tags name, beside the one that a flag names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.errors import LegendError
from landcover_tf.legend import legend_names, load_legend
from landcover_tf.raster_windows import opened

TAG = "legend"


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


def legend_tag(path: Path) -> str | None:
    """Returns the tag `legend` of a raster: a name, or any text, such as ESA's list of classes.

    Raises:
        RasterError: The raster cannot be read.
    """
    with opened(path) as raster:
        tag: str | None = raster.tags().get(TAG)
        return tag


def shortened(tag: str, limit: int = 40) -> str:
    """Returns a tag on one line, cut when it is long."""
    text = " ".join(tag.split())
    return text if len(text) <= limit else f"{text[:limit]}..."
