"""A sample from the first count of the map's pixels to the files that an interpreter opens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.design import FILE_NAME, Design, Stratum
from landcover_tf.accuracy.labelling import draw_pictures, write_points
from landcover_tf.accuracy.sampling import (
    Allocation,
    allocate,
    draw,
    expected_standard_error,
    shares,
    smallest_sample,
)
from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.legend import Legend
from landcover_tf.system import provenance
from landcover_tf.system.files import atomic_folder, sha256_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """The sample that is wanted; see `landcover_tf.assess.design.DesignConfig`."""

    target_se: float | None
    samples: int | None
    """Number of points; given when `target_se` is not."""
    expected_accuracy: tuple[str, ...]
    allocation: Allocation
    min_per_class: int
    seed: int
    image: Path | None
    picture_m: float
    rows_per_strip: int


def draw_sample(class_map: ClassMap, folder: Path, request: Request) -> Design:
    """Draws a sample, writes points, style, pictures and record, and returns the record.

    Args:
        class_map: The map, read twice in row strips.
        folder: New folder.
        request: Size, allocation and seed.

    Raises:
        ConfigError: An expected accuracy is malformed or of an unknown class.
        RasterError: The map has no pixel with a class, or unknown codes.
        OutputError: The folder exists.
    """
    accuracy = expected_accuracies(request.expected_accuracy, class_map.legend)
    with atomic_folder(folder) as temporary:
        pixels = class_map.count(request.rows_per_strip)
        strata = {code: n for code, n in pixels.classes.items() if n}
        if not strata:
            raise RasterError(f"{class_map.path} has no pixel with a class, so nothing to sample")
        numbers = np.array(list(strata.values()), np.int64)
        points, error = _sizes(numbers, np.array([accuracy[c] for c in strata]), request)
        drawn = draw(
            class_map,
            strata,
            dict(zip(strata, points.tolist(), strict=True)),
            seed=request.seed,
            rows_per_strip=request.rows_per_strip,
        )
        pictures: Sequence[str | None] = [None] * len(drawn.row)
        if request.image is not None:
            pictures = draw_pictures(
                temporary, class_map, drawn, request.image, side_m=request.picture_m
            )
        write_points(temporary, class_map, drawn, pictures)
        grid = class_map.grid
        names = dict(zip(class_map.legend.codes, class_map.legend.names, strict=True))
        design = Design(
            map=class_map.path.name,
            map_sha256=sha256_of(class_map.path),
            legend=class_map.legend,
            strata=tuple(
                Stratum(
                    code=code, name=names[code], pixels=strata[code], points=int(n),
                    expected_accuracy=accuracy[code],
                )
                for code, n in zip(strata, points, strict=True)
            ),
            crs=None if grid.crs is None else grid.crs.to_wkt(),
            transform=grid.transform[:6],
            pixel_area_m2=grid.pixel_area_m2,
            seed=request.seed,
            allocation=request.allocation,
            target_se=request.target_se,
            expected_se=error,
            nodata_pixels=pixels.nodata,
            excluded_pixels=pixels.excluded,
            software=provenance.software_versions(),
            drawn=drawn,
        )  # fmt: skip
        design.save(temporary / FILE_NAME)
    return design


def expected_accuracies(entries: Sequence[str], legend: Legend) -> Mapping[int, float]:
    """Returns the expected user's accuracy of each class code.

    Args:
        entries: A number for all classes, and CODE=NUMBER or NAME=NUMBER for single ones.
        legend: The classes.

    Raises:
        ConfigError: An entry is malformed, or a class has none.
    """
    codes = {str(c.code): c.code for c in legend.classes}
    codes |= {c.name: c.code for c in legend.classes}
    general: float | None = None
    single: dict[int, float] = {}
    for entry in entries:
        name, separator, text = entry.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 1:
            raise ConfigError(f"--expected-accuracy takes shares in [0, 1], got {entry!r}")
        if not separator:
            general = value
        elif name in codes:
            single[codes[name]] = value
        else:
            raise ConfigError(
                f"--expected-accuracy names class {name!r}, which legend {legend.name} lacks"
            )
    missing = [c for c in legend.codes if c not in single]
    if missing and general is None:
        raise ConfigError(
            f"--expected-accuracy gives no value for classes {missing}; add one without a class"
        )
    return {code: single.get(code, general or 0.0) for code in legend.codes}


def _sizes(pixels: np.ndarray, accuracy: np.ndarray, request: Request) -> tuple[np.ndarray, float]:
    """Returns the points of each stratum and the standard error that they promise."""
    weights = pixels / pixels.sum()
    deviations = np.sqrt(accuracy * (1 - accuracy))
    share = shares(request.allocation, weights, deviations)
    if request.target_se is None:
        points = allocate(request.samples or 0, share, pixels, minimum=request.min_per_class)
    else:
        points = smallest_sample(
            pixels, deviations, share, minimum=request.min_per_class, target_se=request.target_se
        )
    return points, expected_standard_error(weights, deviations, points)
