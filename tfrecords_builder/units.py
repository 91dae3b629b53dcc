"""What a split keeps whole: blocks of ground, zones, scenes, tiles or groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landcover_tf.errors import DatasetError
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.footprints import Footprints, PatchPlace
from tfrecords_builder.patches import Candidate
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.zones import zones_of


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Name of the unit a patch belongs to, and the split it was given from outside."""

    name: str
    split: str | None = None


def units_of(
    candidates: Sequence[Candidate],
    rasters: Sequence[SourceRaster],
    places: Sequence[PatchPlace],
    footprints: Footprints,
    config: BuildConfig,
) -> list[Unit | None]:
    """Returns the unit of each patch, None outside all zones.

    Raises:
        DatasetError: The method needs what the input lacks: a CRS, a column or readable zones.
    """
    if config.split == "blocks":
        return _blocks(places, footprints, config)
    if config.split == "zones" and config.zones is not None:
        zones = zones_of(places, config.zones)
        return [None if z is None else Unit(name=z.name, split=z.split) for z in zones]
    sources = [rasters[candidate.source].source for candidate in candidates]
    if config.split == "scenes":
        return [Unit(name=source.id) for source in sources]
    column = {"tiles": "tile", "group": "group", "given": "split"}[config.split]
    values = [s.product.tile if column == "tile" else getattr(s, column) for s in sources]
    lacking = sorted({s.id for s, value in zip(sources, values, strict=True) if not value})
    if lacking:
        raise DatasetError(
            f"--split {config.split} needs the {column} of every image; {len(lacking)} have none, "
            f"for example {lacking[0]}"
        )
    if column != "split":
        return [Unit(name=str(value)) for value in values]
    return [Unit(name=s.id, split=str(v)) for s, v in zip(sources, values, strict=True)]


def _blocks(
    places: Sequence[PatchPlace], footprints: Footprints, config: BuildConfig
) -> list[Unit | None]:
    """Returns the block of ground that each patch's centre lies in.

    Block borders are at multiples of the block size in the CRS, so that scenes of several dates
    and neighbouring scenes share them.
    """
    if config.block_size_px is not None:
        size = config.block_size_px * np.median(footprints.pixel, axis=0)
    elif all(place.crs for place in places):
        size = np.full(2, config.block_size_m)
    else:
        without = next(place.raster for place in places if not place.crs)
        raise DatasetError(
            f"{without} has no CRS, so it has no metres; give --block-size-px, or --split group "
            "or scenes"
        )
    cells = np.floor(footprints.centers / size).astype(int).tolist()
    return [
        Unit(name=f"{col}_{row}" if place.crs else f"{place.raster} {col}_{row}")
        for (col, row), place in zip(cells, places, strict=True)
    ]
