"""What to tell beside block-bootstrap intervals, the same in every program that shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

Figure = Mapping[str, Any]
"""What `Interval.to_dict` gives; files of older versions lack the newer keys."""
_MEANS = {"mean_iou": "mean IoU", "mean_f1": "mean F1"}
_SCORES = ("users_accuracy", "producers_accuracy", "f1", "iou")


def of_comparison(values: Mapping[str, Any]) -> list[str]:
    """Returns the sentences about the intervals of a compare.json."""
    figures = {name: [values[key]] for key, name in _MEANS.items()}
    return _dropped(figures | {c["name"]: [c[key] for key in _SCORES] for c in values["classes"]})


def of_evaluation(values: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Returns the sentences about the intervals of a scores.json."""
    judged = [values["unet"], *([values["baseline"]] if values.get("baseline") else [])]
    figures = {name: [j["intervals"][key] for j in judged] for key, name in _MEANS.items()}
    return _dropped(
        figures | {name: [j["classes"][name]["iou_interval"] for j in judged]
                   for name in class_names}
    )  # fmt: skip


def _dropped(figures: Mapping[str, Sequence[Figure]]) -> list[str]:
    """Returns which share of the resamplings is in no interval, by what the intervals are of."""
    names_of: dict[str, list[str]] = {}
    for name, of_name in figures.items():
        shares = [f.get("dropped_fraction", 0.0) for f in of_name if f["value"] is not None]
        if any(shares):
            limit = "up to " if min(shares) < max(shares) else ""
            names_of.setdefault(f"{limit}{100 * max(shares):.3g} %", []).append(name)
    if not names_of:
        return []
    parts = "; ".join(f"{share} for {', '.join(names)}" for share, names in names_of.items())
    return [
        "Resamplings that lack a class have no score of it and no mean over the classes; they are "
        f"left out of these intervals: {parts}."
    ]
