"""Assessments as plain values: what estimate.json and compare.json hold."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from landcover_tf.accuracy import bootstrap
from landcover_tf.accuracy.agreement import Agreement, ring_names
from landcover_tf.accuracy.areas import assessed_areas, hectares_of
from landcover_tf.accuracy.bootstrap import Statistic
from landcover_tf.accuracy.class_map import ClassMap, MapPixels
from landcover_tf.accuracy.coverage import MappedInStrata
from landcover_tf.accuracy.estimate import Sample, assess, describe
from landcover_tf.accuracy.matching import MatchedPoints
from landcover_tf.accuracy.object_sizes import range_names
from landcover_tf.accuracy.scores import (
    class_f1,
    class_iou,
    class_precision,
    class_recall,
    confusion_matrix,
    scores,
    total_scores,
)
from landcover_tf.accuracy.strata import Strata
from landcover_tf.legend import Legend
from landcover_tf.system import provenance
from landcover_tf.system.files import json_number, sha256_of

SCHEMA_VERSION = 2
FEW_BLOCKS = 20
"""With fewer blocks than this, their resampling says little about chance."""


def estimate_values(
    class_map: ClassMap,
    pixels: MapPixels,
    points: MatchedPoints,
    strata: Strata,
    sample: Sample,
    *,
    mapped_in_strata: MappedInStrata,
    same_map: bool,
    strata_source: str,
    unit_area_m2: float | None,
    confidence: float,
) -> dict[str, Any]:
    """Returns accuracy and area estimates of a probability sample.

    Args:
        class_map: The assessed map.
        pixels: What it consists of.
        points: The usable points.
        strata: Strata of the sample.
        sample: The points in `strata`.
        mapped_in_strata: What the map classifies within `strata`.
        same_map: Whether the strata are the classes of the assessed map.
        strata_source: Where the strata come from, for people.
        unit_area_m2: Area of a pixel of the strata, None where unknown.
        confidence: Confidence level of the intervals.
    """
    legend = class_map.legend
    found = assess(sample, len(legend.classes), confidence=confidence)
    assessed_ha, areas = assessed_areas(
        found, class_map, mapped_in_strata,
        strata_pixels=int(strata.pixels.sum()), unit_area_m2=unit_area_m2,
    )  # fmt: skip
    figures = describe(found, list(legend.names), list(legend.codes))
    return _about(class_map, "estimate") | {
        "probability_sample": True,
        "estimator": "Olofsson et al. (2014)" if same_map else "Stehman (2014), indicators",
        "confidence": confidence,
        "strata_source": strata_source,
        "strata": [
            {"code": code, "pixels": int(n), "points": int(k)}
            for code, n, k in zip(strata.codes, strata.pixels, sample.points, strict=True)
        ],
        "strata_left_out": {str(code): n for code, n in strata.left_out.items()},
        "points": _points(points, int(strata.used.sum())) | {
            "in_strata_left_out": int((~strata.used).sum()),
            "where_the_map_has_no_class": int((sample.mapped < 0).sum()),
        },
        "map_pixels": _map_pixels(pixels) | {
            "in_strata": mapped_in_strata.most_pixels if mapped_in_strata.counted else None,
        },
        "map_area_ha": hectares_of(class_map, pixels.mapped),
        "assessed_area_ha": assessed_ha,
        "overall_accuracy": found.overall.to_dict(),
        "mean_f1": found.mean_f1.to_dict(),
        "mean_iou": found.mean_iou.to_dict(),
        "classes": [one | area for one, area in zip(figures, areas, strict=True)],
        "confusion_counts": found.counts.tolist(),
        "confusion_area_fractions": found.proportions.tolist(),
        "matrix_rows": "map",
    }  # fmt: skip


def agreement_values(
    class_map: ClassMap, pixels: MapPixels, points: MatchedPoints
) -> dict[str, Any]:
    """Returns the agreement with points that are no probability sample: counts, no intervals."""
    legend = class_map.legend
    found = scores(confusion_matrix(points.reference, points.mapped, len(legend.classes)))
    plain = found.to_dict(legend.names)
    classes = []
    for i, land_cover in enumerate(legend.classes):
        values = plain["classes"][land_cover.name]
        classes.append(
            {
                "code": land_cover.code,
                "name": land_cover.name,
                "map_points": int(found.predicted[i]),
                "reference_points": int(found.support[i]),
                "users_accuracy": {"value": values["precision"]},
                "producers_accuracy": {"value": values["recall"]},
                "f1": {"value": values["f1"]},
                "iou": {"value": values["iou"]},
                "mapped_pixels": pixels.classes[land_cover.code],
            }
        )
    return _about(class_map, "estimate") | {
        "probability_sample": False,
        "points": _points(points, len(points.ids)),
        "map_pixels": _map_pixels(pixels),
        "overall_accuracy": {"value": plain["overall_accuracy"]},
        "mean_f1": {"value": plain["macro"]["f1"]},
        "mean_iou": {"value": plain["macro"]["iou"]},
        "classes": classes,
        "confusion_counts": found.matrix.T.tolist(),
        "matrix_rows": "map",
    }


def compare_values(
    class_map: ClassMap,
    found: Agreement,
    *,
    excluded: Mapping[int, int],
    block_px: int,
    samples: int,
    seed: int,
    confidence: float,
) -> dict[str, Any]:
    """Returns the agreement with a reference raster.

    Args:
        class_map: The map.
        found: Its agreement.
        excluded: Map pixels of each code that were left out by request.
        block_px: Side of the resampled blocks.
        samples: Bootstrap samples.
        seed: Random seed of the bootstrap.
        confidence: Confidence level of the intervals.
    """
    pixel_m = class_map.grid.pixel_side_m
    counts = bootstrap.resample(len(found.blocks), samples=samples, seed=seed)
    sums = bootstrap.resampled_sums(found.blocks, counts)
    totals = {
        name: bootstrap.interval(found.blocks, score, sums, confidence=confidence).to_dict()
        for name, score in total_scores(found.matrix).items()
    }

    def of_class(score: Statistic, number: int) -> dict[str, float | None]:
        return bootstrap.class_interval(
            found.blocks, score, number, sums, confidence=confidence,
            counted="predicted" if score is class_precision else "true",
        ).to_dict()  # fmt: skip

    return _about(class_map, "compare") | {
        "pixels": {
            "compared": int(found.matrix.sum()),
            "without_reference_class": found.only_map,
            "without_map_class": found.only_reference,
            "without_both": found.neither,
        },
        "excluded_map_pixels": {str(code): n for code, n in excluded.items()},
        "confidence": confidence,
        "blocks": len(found.blocks),
        "block_px": block_px,
        "block_m": None if pixel_m is None else block_px * pixel_m,
        "bootstrap_samples": samples,
        "seed": seed,
        **totals,
        "classes": _compared_classes(class_map.legend, found.matrix, of_class),
        "by_object_size": _by_object_size(found),
        "by_boundary_distance": [
            {"range": name} | _part(matrix)
            for name, matrix in zip(ring_names(), found.rings, strict=True)
        ],
        "confusion_counts": found.matrix.tolist(),
        "matrix_rows": "reference",
    }


def _compared_classes(
    legend: Legend,
    matrix: np.ndarray,
    of_class: Callable[[Statistic, int], dict[str, float | None]],
) -> list[dict[str, Any]]:
    """Returns the pixels and the scores of each class; `of_class` gives one with its interval."""
    overall = scores(matrix)
    figures = {
        "users_accuracy": class_precision,
        "producers_accuracy": class_recall,
        "f1": class_f1,
        "iou": class_iou,
    }
    return [
        {
            "code": land_cover.code,
            "name": land_cover.name,
            "map_pixels": int(overall.predicted[i]),
            "reference_pixels": int(overall.support[i]),
        }
        | {name: of_class(score, i) for name, score in figures.items()}
        for i, land_cover in enumerate(legend.classes)
    ]


def _by_object_size(found: Agreement) -> list[dict[str, Any]]:
    sizes = zip(range_names(), found.sizes.matrices, found.sizes.objects, strict=True)
    return [
        {"range": name, "objects": int(objects.sum())} | _part(matrix, objects)
        for name, matrix, objects in sizes
    ]


def _about(class_map: ClassMap, kind: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "map": class_map.path.name,
        "map_sha256": sha256_of(class_map.path),
        "legend": class_map.legend.to_dict(),
        "legend_assumed": class_map.legend_assumed,
        "software": provenance.software_versions(),
    }


def _points(points: MatchedPoints, used: int) -> dict[str, Any]:
    return {
        "given": len(points.ids) + sum(len(ids) for ids in points.excluded.values()),
        "used": used,
        "excluded": {reason: list(ids) for reason, ids in points.excluded.items()},
        "reprojected_from": points.reprojected_from,
        "assumed_crs": points.assumed_crs,
    }


def _map_pixels(pixels: MapPixels) -> dict[str, Any]:
    excluded = {str(code): n for code, n in pixels.excluded.items()}
    return {"mapped": pixels.mapped, "no_data": pixels.nodata, "excluded": excluded}


def _part(matrix: np.ndarray, objects: np.ndarray | None = None) -> dict[str, Any]:
    """Returns how much of a part of the reference the map found, in all and by class."""
    found = scores(matrix)
    recall = [json_number(v) for v in found.recall]
    values: dict[str, Any] = {
        "pixels": found.pixels,
        "agreement": json_number(found.overall_accuracy),
        "producers_accuracy": recall,
    }
    if objects is not None:
        values["objects_by_class"] = objects.tolist()
    return values
