"""A survey from its files to its estimates: which strata, which points, which estimator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from landcover_tf.accuracy import coverage, probabilities
from landcover_tf.accuracy.class_map import ClassMap, MapPixels
from landcover_tf.accuracy.coverage import MappedInStrata
from landcover_tf.accuracy.design import FILE_NAME, Design, recorded_crs
from landcover_tf.accuracy.estimate import Sample
from landcover_tf.accuracy.matching import MatchedPoints, match
from landcover_tf.accuracy.points import load_points
from landcover_tf.accuracy.strata import Strata, arrange, from_map, from_record
from landcover_tf.accuracy.summaries import agreement_values, estimate_values
from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LegendError, SampleError
from landcover_tf.legend import DEFAULT_LEGEND, legend_names, load_legend
from landcover_tf.system.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A map and labelled points; see `landcover_tf.assess.estimate.EstimateConfig`."""

    map: Path
    legend: str | None
    exclude_codes: tuple[int, ...]
    reference: Path
    layer: str | None
    reference_column: str
    reference_legend: str | None
    points_crs: str | None
    unknown_labels: Literal["error", "ignore"]
    design: Path | None
    strata_map: Path | None
    strata_legend: str | None
    probability_sample: bool
    leave_out_strata: tuple[int, ...]
    probabilities: Path | None
    confidence: float
    rows_per_strip: int


def estimate_survey(survey: Survey) -> dict[str, Any]:
    """Returns the values of estimate.json.

    Raises:
        SampleError: The points are no probability sample and do not claim otherwise, or a
            stratum has too few of them.
        LabelError: A reference class is unknown.
        LegendError: There is no such legend, or the map's tags or its design name another.
        RasterError: The map or the probabilities are unfit.
    """
    design = _design(survey)
    excluded = survey.exclude_codes or tuple(design.excluded_pixels if design else ())
    same_map = (
        design is not None
        and survey.map.is_file()  # Else opening it tells what is wrong.
        and design.map_sha256 == sha256_of(survey.map)
    )
    legend = _legend_of_design(survey, design) if design and same_map else survey.legend
    class_map = ClassMap.open(survey.map, legend, excluded)
    pixels = class_map.count(survey.rows_per_strip)
    reference_legend = survey.reference_legend or class_map.legend_source
    points = load_points(
        survey.reference,
        class_map.legend,
        load_legend(reference_legend),
        layer=survey.layer,
        column=survey.reference_column,
        crs=survey.points_crs,
        crs_of_x_y=lambda: design.system if design else recorded_crs(survey.reference.parent),
        # Only a record's strata are found by it; elsewhere it may hold what it likes.
        with_stratum=design is not None,
    )
    basis = design or _strata_map(survey, class_map)
    if points.crs is None and isinstance(basis, ClassMap):
        _require_one_crs(survey, basis, class_map)
    units = basis.sampled if basis and not same_map else class_map.sampled
    matched = match(
        points,
        class_map,
        load_crosswalk(reference_legend, class_map.legend_source),
        units=units,
        keep_unmapped=basis is not None and not same_map,
        unknown=survey.unknown_labels,
    )
    if basis is None:
        values = agreement_values(class_map, pixels, matched)
        weight = np.ones(len(matched.ids))
    else:
        # The map's own classes given as a strata map are the published case as well.
        own = same_map or basis is class_map
        strata, source = _strata(survey, basis, class_map, matched)
        sample = Sample.of(matched, strata)
        values = estimate_values(
            class_map, pixels, matched, strata, sample,
            mapped_in_strata=_mapped_in_strata(survey, basis, class_map, pixels, strata, own),
            same_map=own,
            strata_source="the map itself" if own else source,
            unit_area_m2=units.pixel_area_m2, confidence=survey.confidence,
        )  # fmt: skip
        weight = np.zeros(len(matched.ids))
        weight[strata.used] = sample.weight
    values["reference"] = survey.reference.name
    values["design"] = None if design is None else design.to_dict()
    if survey.probabilities is not None:
        values["calibration"] = _calibration(survey.probabilities, class_map, matched, weight)
    return values


def _design(survey: Survey) -> Design | None:
    """Returns the record of the design, None when the strata come from a map or there are none."""
    if not survey.probability_sample or survey.strata_map is not None:
        return None
    path = survey.design or survey.reference.parent / FILE_NAME
    if survey.design is None and not path.is_file():
        raise SampleError(
            f"{survey.reference} has no {FILE_NAME} beside it, so nobody knows how the points were "
            "drawn; give --design or --strata-map, or --not-a-probability-sample for agreement "
            "without areas and intervals"
        )
    return Design.load(path)


def _legend_of_design(survey: Survey, design: Design) -> str | None:
    """Returns the legend in which points of this very map were drawn; None is the default one.

    Raises:
        LegendError: The flag names another, or is needed for one that does not ship.
    """
    drawn = design.legend
    if survey.legend is not None:
        if load_legend(survey.legend).name != drawn.name:
            raise LegendError(
                f"{survey.reference} was drawn from {survey.map} in legend {drawn.name}, --legend "
                f"says {survey.legend}; drop the flag, or give the map as --strata-map as well"
            )
        return survey.legend
    # Where a map without tags is read in the default legend, the report calls it assumed.
    if drawn.name == DEFAULT_LEGEND:
        return None
    if drawn.name not in legend_names() or load_legend(drawn.name).codes != drawn.codes:
        raise LegendError(
            f"{survey.reference} was drawn from {survey.map} in legend {drawn.name}, which does "
            "not ship with the package; give its TOML file with --legend"
        )
    return drawn.name


def _strata_map(survey: Survey, class_map: ClassMap) -> ClassMap | None:
    """Returns the map whose classes are the strata, None when none was named."""
    if survey.strata_map is None:
        return None
    if survey.strata_map.exists() and survey.strata_map.samefile(class_map.path):
        return class_map
    return ClassMap.open(survey.strata_map, survey.strata_legend, legend_flag="--strata-legend")


def _require_one_crs(survey: Survey, strata_map: ClassMap, class_map: ClassMap) -> None:
    """Refuses points that may be in either map's reference system, because nothing names it."""
    if strata_map.grid.crs not in (None, class_map.grid.crs):
        raise SampleError(
            f"{survey.reference} does not name the reference system of its points, and "
            f"{strata_map.path} is in another one than {class_map.path}; name it with --points-crs"
        )


def _strata(
    survey: Survey, basis: Design | ClassMap, class_map: ClassMap, points: MatchedPoints
) -> tuple[Strata, str]:
    """Returns the strata of the points and where they come from.

    Raises:
        SampleError: The strata do not fit the points, or none of their points has a class.
    """
    if isinstance(basis, ClassMap):
        stratum = from_map(points, basis)
        # A stratum needs no name: points may have been drawn from codes that the legend lacks.
        sizes, source = basis.count_codes(survey.rows_per_strip), basis.path.name
    else:
        stratum = from_record(points, basis.drawn)
        sizes, source = basis.pixels, f"{basis.map} of the sampling design"
    strata = arrange(stratum, sizes, survey.leave_out_strata, points.ids)
    if not (points.mapped[strata.used] >= 0).any():
        raise SampleError(
            f"{class_map.path} has no class at any point of the strata "
            f"{', '.join(map(str, strata.codes))}, so there is nothing to estimate; leave out "
            "fewer strata, or give the map that was sampled"
        )
    return strata, source


def _mapped_in_strata(
    survey: Survey,
    basis: Design | ClassMap,
    class_map: ClassMap,
    pixels: MapPixels,
    strata: Strata,
    own: bool,
) -> MappedInStrata:
    """Returns the pixels of each class that the sample speaks for."""
    if own:
        return coverage.of_own_strata(pixels, strata.codes)
    if isinstance(basis, ClassMap):
        return coverage.in_strata_of(
            class_map, basis, strata.codes, rows_per_strip=survey.rows_per_strip
        )
    return coverage.in_strata_of_record(class_map, pixels, basis, strata.codes)


def _calibration(
    path: Path, class_map: ClassMap, points: MatchedPoints, weight: np.ndarray
) -> dict[str, Any]:
    mapped = points.mapped >= 0
    ids = tuple(points.ids[i] for i in np.flatnonzero(mapped))
    found = probabilities.at_points(path, class_map, points.row[mapped], points.col[mapped], ids)
    return probabilities.calibration(found, points.reference[mapped], weight[mapped], ids)
