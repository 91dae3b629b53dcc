"""Areas of an estimate.

Where the pixels of the assessed area were counted, a class has its share of them. Elsewhere that
area is an estimate itself, and each class's total is estimated with a variance of its own (Stehman
2014, equations 2 and 3): a share of an estimated area is less certain than the share.
"""

from typing import Any

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.coverage import MappedInStrata
from landcover_tf.accuracy.estimate import Accuracy

M2_PER_HA = 10_000


def assessed_areas(
    found: Accuracy,
    class_map: ClassMap,
    inside: MappedInStrata,
    *,
    strata_pixels: int,
    unit_area_m2: float | None,
) -> tuple[float | None, list[dict[str, Any]]]:
    """Returns the hectares of the strata where the map has a class, and the areas of each class.

    Args:
        found: What the sample says.
        class_map: The assessed map.
        inside: What the map classifies within the strata; where that was not counted, the sample
            tells it, and no estimate is more than the map has.
        strata_pixels: Pixels of the strata.
        unit_area_m2: Area of a pixel of the strata, None where they have no one area; then
            nothing is known in hectares but what was counted on the map.
    """
    unit_ha = None if unit_area_m2 is None else unit_area_m2 / M2_PER_HA
    most_ha = hectares_of(class_map, inside.most_pixels)
    if inside.counted:
        mapped = _counted_on_the_map(class_map, inside)
    else:
        mapped = _estimated_on_the_map(found, class_map, inside, strata_pixels, unit_ha)
    if unit_ha is None:
        return None, [{"area_ha": None} | values for values in mapped]
    if inside.counted and most_ha is not None:
        assessed_ha: float | None = most_ha
        areas = [e.to_dict(most_ha, most_ha) for e in found.area]
    else:
        strata_ha = strata_pixels * unit_ha
        upper = strata_ha if most_ha is None else min(strata_ha, most_ha)
        least_ha = hectares_of(class_map, inside.most_pixels - inside.surplus) or 0.0
        assessed_ha = found.pixels.to_dict(unit_ha, upper, least_ha)["value"]
        areas = [e.to_dict(unit_ha, upper) for e in found.area_pixels]
    return assessed_ha, [{"area_ha": a} | m for a, m in zip(areas, mapped, strict=True)]


def hectares_of(class_map: ClassMap, pixels: int) -> float | None:
    """Returns the area of pixels of a map, None where they have no one area."""
    area_m2 = class_map.grid.pixel_area_m2
    return None if area_m2 is None else pixels * area_m2 / M2_PER_HA


def _counted_on_the_map(class_map: ClassMap, inside: MappedInStrata) -> list[dict[str, Any]]:
    found = []
    for code in class_map.legend.codes:
        pixels = inside.most[code]
        hectares = hectares_of(class_map, pixels)
        found.append(
            {
                "mapped_pixels": pixels,
                "mapped_fraction": {"value": pixels / max(inside.most_pixels, 1)},
                "mapped_area_ha": None if hectares is None else {"value": hectares},
            }
        )
    return found


def _estimated_on_the_map(
    found: Accuracy,
    class_map: ClassMap,
    inside: MappedInStrata,
    strata_pixels: int,
    unit_ha: float | None,
) -> list[dict[str, Any]]:
    classes = []
    for i, code in enumerate(class_map.legend.codes):
        lower, upper = inside.share_limits(code)
        values: dict[str, Any] = {
            "mapped_pixels": None,
            "mapped_fraction": found.mapped[i].to_dict(lower=lower, upper=upper),
            "mapped_area_ha": None,
        }
        if unit_ha is not None:
            least_ha = hectares_of(class_map, inside.least(code)) or 0.0
            most_ha = hectares_of(class_map, inside.most[code])
            values["mapped_area_ha"] = found.mapped_pixels[i].to_dict(
                unit_ha, strata_pixels * unit_ha if most_ha is None else most_ha, least_ha
            )
        classes.append(values)
    return classes
