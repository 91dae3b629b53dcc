"""Areas of an estimate.

Where the pixels of the assessed area were counted, a class has its share of them. Elsewhere that
area is an estimate itself, and each class's total is estimated with a variance of its own (Stehman
2014, equations 2 and 3): a share of an estimated area is less certain than the share.
"""

from collections.abc import Mapping
from typing import Any

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.estimate import Accuracy

M2_PER_HA = 10_000


def assessed_areas(
    found: Accuracy,
    class_map: ClassMap,
    mapped_in_strata: Mapping[int, int] | None,
    *,
    strata_pixels: int,
    unit_area_m2: float | None,
) -> tuple[float | None, list[dict[str, Any]]]:
    """Returns the hectares of the strata where the map has a class, and the areas of each class.

    Args:
        found: What the sample says.
        class_map: The assessed map.
        mapped_in_strata: Pixels of each class of the map that lie in the strata; None where nobody
            can count them, and the sample tells what the map has there as well.
        strata_pixels: Pixels of the strata.
        unit_area_m2: Area of a pixel of the strata, None where they have no one area; then
            nothing is known in hectares but what was counted on the map.
    """
    unit_ha = None if unit_area_m2 is None else unit_area_m2 / M2_PER_HA
    counted_ha = None
    if mapped_in_strata is None:
        mapped = _estimated_on_the_map(found, strata_pixels, unit_ha)
    else:
        mapped = _counted_on_the_map(class_map, mapped_in_strata)
        counted_ha = hectares_of(class_map, sum(mapped_in_strata.values()))
    if unit_ha is None:
        return None, [{"area_ha": None} | values for values in mapped]
    if counted_ha is None:
        assessed_ha = found.pixels.value * unit_ha
        areas = [e.to_dict(unit_ha, strata_pixels * unit_ha) for e in found.area_pixels]
    else:
        assessed_ha = counted_ha
        areas = [e.to_dict(counted_ha, counted_ha) for e in found.area]
    return assessed_ha, [{"area_ha": a} | m for a, m in zip(areas, mapped, strict=True)]


def hectares_of(class_map: ClassMap, pixels: int) -> float | None:
    """Returns the area of pixels of a map, None where they have no one area."""
    area_m2 = class_map.pixel_area_m2
    return None if area_m2 is None else pixels * area_m2 / M2_PER_HA


def _counted_on_the_map(
    class_map: ClassMap, mapped_in_strata: Mapping[int, int]
) -> list[dict[str, Any]]:
    every, found = max(sum(mapped_in_strata.values()), 1), []
    for code in class_map.legend.codes:
        pixels = mapped_in_strata[code]
        hectares = hectares_of(class_map, pixels)
        found.append(
            {
                "mapped_pixels": pixels,
                "mapped_fraction": {"value": pixels / every},
                "mapped_area_ha": None if hectares is None else {"value": hectares},
            }
        )
    return found


def _estimated_on_the_map(
    found: Accuracy, strata_pixels: int, unit_ha: float | None
) -> list[dict[str, Any]]:
    return [
        {
            "mapped_pixels": None,
            "mapped_fraction": share.to_dict(),
            "mapped_area_ha": (
                None if unit_ha is None else pixels.to_dict(unit_ha, strata_pixels * unit_ha)
            ),
        }
        for share, pixels in zip(found.mapped, found.mapped_pixels, strict=True)
    ]
