"""The record of a sampling design: what was drawn from which map, and how.

Without it a set of points says nothing about the area of a map, because nobody knows with what
probability each pixel could have become a point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine

from landcover_tf.accuracy.class_map import SampledPixels
from landcover_tf.accuracy.sampling import DrawnPoints
from landcover_tf.errors import LegendError, SampleError
from landcover_tf.legend import Legend
from landcover_tf.system.files import read_json, write_json

FILE_NAME = "design.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """One class of the map that points were drawn from."""

    code: int
    name: str
    pixels: int
    """Pixels N_h of the class."""
    points: int
    """Points n_h drawn from it."""
    expected_accuracy: float
    """User's accuracy that the allocation was made for."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A stratified random sample of the pixels of a map."""

    map: str
    """File name of the map."""
    map_sha256: str
    legend: Legend
    strata: tuple[Stratum, ...]
    crs: str | None
    """Reference system of the points' x and y, as well-known text."""
    transform: tuple[float, ...]
    """Coefficients a to f of the map's affine transform."""
    pixel_area_m2: float | None
    seed: int
    allocation: str
    target_se: float | None
    expected_se: float
    """Standard error of overall accuracy if the expected accuracies hold."""
    nodata_pixels: int
    """Pixels without class, which could not be drawn."""
    excluded_pixels: Mapping[int, int] = field(hash=False)
    """Pixels of each code left out by request."""
    software: Mapping[str, str] = field(hash=False)
    drawn: DrawnPoints = field(compare=False)
    """The drawn pixels in the order of the points' ids."""

    def __post_init__(self) -> None:
        _ = self.system

    @property
    def system(self) -> CRS | None:
        """Reference system of the points' x and y."""
        return _system(self.crs)

    @property
    def sampled(self) -> SampledPixels:
        """The pixels that were drawn from."""
        return SampledPixels(
            name=f"{self.map} of the sampling design",
            crs=self.system,
            transform=Affine(*self.transform),
            pixel_area_m2=self.pixel_area_m2,
        )

    @property
    def pixels(self) -> dict[int, int]:
        """Pixels of each stratum by code."""
        return {s.code: s.pixels for s in self.strata}

    @property
    def all_pixels(self) -> int:
        """Pixels of the map, those included that could not be drawn."""
        return sum(self.pixels.values()) + self.nodata_pixels + sum(self.excluded_pixels.values())

    def save(self, path: Path) -> None:
        """Writes the record."""
        drawn = {name: v.tolist() for name, v in vars(self.drawn).items()}
        write_json(path, self.to_dict() | {"drawn": drawn})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, without the drawn pixels."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "stratified random sample of map pixels",
            "map": self.map,
            "map_sha256": self.map_sha256,
            "seed": self.seed,
            "allocation": self.allocation,
            "target_se": self.target_se,
            "expected_se": self.expected_se,
            "points": sum(s.points for s in self.strata),
            "strata": [vars(s) for s in self.strata],
            "nodata_pixels": self.nodata_pixels,
            "excluded_pixels": {str(c): n for c, n in self.excluded_pixels.items()},
            "crs": self.crs,
            "transform": self.transform,
            "pixel_area_m2": self.pixel_area_m2,
            "legend": self.legend.to_dict(),
            "software": dict(self.software),
        }

    @staticmethod
    def load(path: Path) -> "Design":
        """Returns a record that `save` wrote.

        Raises:
            SampleError: The file is something else, or lacks something.
        """
        values = read_json(path)
        if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
            raise SampleError(
                f"{path} is not a sampling design of schema version {SCHEMA_VERSION}; it is "
                "written by `landcover assess design`"
            )
        try:
            return Design(
                map=values["map"],
                map_sha256=values["map_sha256"],
                legend=Legend.from_dict(values["legend"]),
                strata=tuple(Stratum(**s) for s in values["strata"]),
                crs=values["crs"],
                transform=tuple(values["transform"]),
                pixel_area_m2=values["pixel_area_m2"],
                seed=values["seed"],
                allocation=values["allocation"],
                target_se=values["target_se"],
                expected_se=values["expected_se"],
                nodata_pixels=values["nodata_pixels"],
                excluded_pixels={int(c): n for c, n in values["excluded_pixels"].items()},
                software=values["software"],
                drawn=_drawn_pixels(values["drawn"]),
            )
        except KeyError as error:
            raise SampleError(
                f"{path} is not a complete sampling design, it lacks {error}; give the map "
                "that the points were drawn from as --strata-map, or draw points anew with "
                "`landcover assess design`"
            ) from error
        except (TypeError, ValueError, LegendError) as error:
            raise SampleError(f"{path} is not a complete sampling design: {error}") from error


def recorded_crs(folder: Path) -> CRS | None:
    """Returns the reference system that the record in a folder names, complete or not, if any.

    Raises:
        SampleError: It names something else.
        ConfigError: The file is not JSON.
    """
    path = folder / FILE_NAME
    values = read_json(path) if path.is_file() else None
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
        return None
    try:
        return _system(values.get("crs"))
    except ValueError as error:
        raise SampleError(
            f"{path} is unfit: {error}; name the reference system of the points with --points-crs"
        ) from error


def _system(name: str | None) -> CRS | None:
    try:
        return None if name is None else CRS.from_user_input(name)
    except CRSError as error:
        raise ValueError(f"crs {name!r} is no reference system: {error}") from error


def _drawn_pixels(values: Mapping[str, Any]) -> DrawnPoints:
    row, col, stratum = (np.array(values[name], np.int64) for name in ("row", "col", "stratum"))
    if row.ndim != 1 or not row.shape == col.shape == stratum.shape:
        raise ValueError("row, col and stratum of the drawn pixels differ in number")
    return DrawnPoints(row=row, col=col, stratum=stratum)
