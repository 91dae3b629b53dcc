"""Split of patches into train, val and test, by ground first, with a gap between splits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from landcover_tf.errors import DatasetError
from landcover_tf.legend import Legend
from tfrecords_builder.allocation import Sites, allocate
from tfrecords_builder.block_sizes import is_affordable, largest_block
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.earlier_ground import EarlierPatch, near_other_split, splits_of_units
from tfrecords_builder.footprints import Footprints, PatchPlace, locate
from tfrecords_builder.patches import Candidate
from tfrecords_builder.placements import (
    IN_GAP,
    NEAR_EARLIER,
    OUTSIDE_ZONES,
    Placement,
    TooFewError,
    require_filled,
    require_units,
)
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.units import Unit, units_of
from tfrecords_builder.zones import SPLITS, prescribed_splits


def patch_key(raster: SourceRaster, candidate: Candidate) -> str:
    """Returns the unique name of a patch: source, row and column."""
    window = candidate.window
    return f"{raster.source.id}:{window.row_off:05d}:{window.col_off:05d}"


def salted_hash(key: str, seed: int) -> bytes:
    """Returns bytes that order keys at random, the same way on every machine."""
    return hashlib.blake2b(
        key.encode(), digest_size=16, salt=f"{seed:016x}".encode()[-16:]
    ).digest()


def split_patches(
    candidates: Sequence[Candidate],
    rasters: Sequence[SourceRaster],
    legend: Legend,
    config: BuildConfig,
    *,
    dropped: Mapping[str, int] | None = None,
    earlier: Sequence[EarlierPatch] = (),
) -> list[Placement]:
    """Returns the split of each candidate, or why it is dropped.

    Args:
        candidates: Patches to place.
        rasters: All rasters, also those of which no patch is left.
        legend: Classes to balance.
        config: How to split.
        dropped: Number of patches that were dropped before, by reason; told where a split is empty.
        earlier: Patches whose ground keeps its split.

    Raises:
        DatasetError: The method does not fit the input, or a split would be empty.
    """
    try:
        return _split(candidates, rasters, legend, config, dropped or {}, earlier)
    except TooFewError as error:
        if config.split != "blocks" or not is_affordable(len(candidates), config):
            raise
        found = largest_block(
            lambda other: _split(candidates, rasters, legend, other, dropped or {}, earlier),
            config,
            locate([_place(candidate, rasters[candidate.source]) for candidate in candidates]),
        )
        raise TooFewError(f"{error}; {found}") from error


def _split(
    candidates: Sequence[Candidate],
    rasters: Sequence[SourceRaster],
    legend: Legend,
    config: BuildConfig,
    dropped: Mapping[str, int],
    earlier: Sequence[EarlierPatch],
) -> list[Placement]:
    if config.split == "random":
        placements, wanted, units = _random(candidates, rasters, config), [], 0
    else:
        wanted = _prescribed(rasters, config)
        placements, units = _by_ground(candidates, rasters, legend, config, wanted, earlier)
    require_filled(placements, wanted, units, dropped, config)
    return placements


def _by_ground(
    candidates: Sequence[Candidate],
    rasters: Sequence[SourceRaster],
    legend: Legend,
    config: BuildConfig,
    prescribed: Sequence[str],
    earlier: Sequence[EarlierPatch],
) -> tuple[list[Placement], int]:
    """Returns the placement of each candidate, and the number of units that were kept whole."""
    places = [_place(candidate, rasters[candidate.source]) for candidate in candidates]
    places += [patch.place for patch in earlier]
    footprints = locate(places)
    units = units_of(candidates, rasters, places, footprints, config)
    if earlier:
        kept = splits_of_units([str(u and u.name) for u in units[len(candidates) :]], earlier)
        units = [u and replace(u, split=kept.get(u.name)) for u in units[: len(candidates)]]
    inside = [number for number, unit in enumerate(units) if unit is not None]
    if not inside:
        raise DatasetError(f"no patch lies in a zone of {config.zones}")
    splits = _spatial(
        [unit for unit in units if unit is not None],
        [candidates[number] for number in inside],
        footprints.subset(inside),
        legend,
        config,
        prescribed,
    )
    placements = [Placement(split=None, group="", reason=OUTSIDE_ZONES)] * len(candidates)
    for number, split in zip(inside, splits, strict=True):
        unit = units[number]
        # A prescribed split moves single images, but those of a group are still not independent.
        given = rasters[candidates[number].source].source.group if config.split == "given" else None
        placements[number] = Placement(
            split=split,
            group=given or (unit.name if unit else ""),
            reason="" if split else IN_GAP,
        )
    if earlier:
        own = [placement.split for placement in placements]
        for number in near_other_split(own, earlier, footprints, config.gap):
            placements[number] = replace(placements[number], split=None, reason=NEAR_EARLIER)
    return placements, len({unit.name for unit in units if unit is not None})


def _prescribed(rasters: Sequence[SourceRaster], config: BuildConfig) -> list[str]:
    """Returns the splits that the split column or the zones name, whatever patches are left."""
    named: set[str | None] = set()
    if config.split == "given":
        named = {raster.source.split for raster in rasters}
    elif config.split == "zones" and config.zones is not None:
        named = prescribed_splits(config.zones, {raster.outline for raster in rasters})
    wrong = sorted(str(name) for name in named - {None, *SPLITS})
    if wrong:
        raise DatasetError(f"the split column must hold {', '.join(SPLITS)}; it has {wrong}")
    return [split for split in SPLITS if split in named]


def _spatial(
    units: Sequence[Unit],
    candidates: Sequence[Candidate],
    footprints: Footprints,
    legend: Legend,
    config: BuildConfig,
    prescribed: Sequence[str],
) -> list[str | None]:
    """Returns the split of each patch; None within the gap."""
    names = sorted({unit.name for unit in units})
    number_of = {name: number for number, name in enumerate(names)}
    unit = np.array([number_of[u.name] for u in units])
    # Patches of several dates at one place share a site and its fate.
    described = np.column_stack([footprints.world, unit, footprints.bounds])
    _, first, site_of = np.unique(described, axis=0, return_index=True, return_inverse=True)
    site_of = site_of.ravel()
    pixels = np.zeros((len(first), len(legend.codes)))
    np.add.at(pixels, site_of, _class_pixels(candidates, legend))
    at = footprints.subset(first)
    sites = Sites(
        unit=unit[first],
        class_pixels=pixels,
        near=_near(at, unit[first], config.gap),
        center=_unit_centers(at, unit[first], len(names)),
    )
    given = {u.name: u.split for u in units if u.split is not None}
    wanted = list(prescribed or config.fractions)
    layout = np.array([wanted.index(given[name]) if name in given else -1 for name in names])
    if not prescribed:
        require_units(names, wanted, config)
        layout = allocate(sites, list(config.fractions.values()), config.seed, layout)
    elif len(given) < len(names):
        raise DatasetError("either every zone or image prescribes its split, or none does")
    split_of_site = _resolved(sites, layout)
    return [wanted[s] if s >= 0 else None for s in split_of_site[site_of].tolist()]


def _resolved(sites: Sites, layout: np.ndarray) -> np.ndarray:
    """Returns the split number of each site, -1 where it gives way to a higher split nearby."""
    return np.where(sites.kept(layout), layout[sites.unit], -1)


def _near(footprints: Footprints, unit: np.ndarray, gap_px: int) -> np.ndarray:
    """Returns the (site, unit) pairs of `Sites.near`."""
    pairs, units = footprints.close_pairs(gap_px, unit), int(unit.max()) + 1
    # As one number each: sorting millions of rows takes minutes.
    numbers = [site * units + unit[other] for site, other in (pairs.T, pairs.T[::-1])]
    return np.column_stack(np.divmod(np.unique(np.concatenate(numbers)), units))


def _unit_centers(footprints: Footprints, unit: np.ndarray, units: int) -> np.ndarray:
    count = np.bincount(unit, minlength=units)
    centers = footprints.centers
    # Worlds without a common CRS are moved so far apart that no strip or circle joins them.
    x = centers[:, 0] + footprints.world * 1e9
    return np.column_stack(
        [np.bincount(unit, v, minlength=units) / count for v in (x, centers[:, 1])]
    )


def _random(
    candidates: Sequence[Candidate], rasters: Sequence[SourceRaster], config: BuildConfig
) -> list[Placement]:
    keys = [patch_key(rasters[candidate.source], candidate) for candidate in candidates]
    order = sorted(range(len(keys)), key=lambda number: salted_hash(keys[number], config.seed + 1))
    placements = [Placement(split="train", group=key) for key in keys]
    start = 0
    for split, fraction in reversed(config.fractions.items()):
        count = max(round(fraction * len(keys)), 1)
        for number in order[start : start + count] if split != "train" else ():
            placements[number] = Placement(split=split, group=keys[number])
        start += count
    return placements


def _place(candidate: Candidate, raster: SourceRaster) -> PatchPlace:
    inside = candidate.window.clip(raster.height, raster.width)
    if inside is None:
        raise ValueError(f"{candidate.window} lies outside {raster.source.image}")
    return PatchPlace(
        crs=raster.crs,
        raster=raster.source.id,
        transform=raster.transform,
        row_off=inside.row_off,
        col_off=inside.col_off,
        height=inside.height,
        width=inside.width,
    )


def _class_pixels(candidates: Sequence[Candidate], legend: Legend) -> np.ndarray:
    return np.array([[c.class_pixels.get(code, 0) for code in legend.codes] for c in candidates])
