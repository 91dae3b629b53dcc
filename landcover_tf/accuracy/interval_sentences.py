"""What to tell beside block-bootstrap intervals, the same in every program that shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from landcover_tf.accuracy.summaries import FEW_BLOCKS

Figure = Mapping[str, Any]
"""What `Interval.to_dict` gives."""
_MEANS = {"mean_iou": "mean IoU", "mean_f1": "mean F1"}
_SCORES = {
    "users_accuracy": "user's accuracy",
    "producers_accuracy": "producer's accuracy",
    "f1": "F1",
    "iou": "IoU",
}


def of_split(split: str) -> list[str]:
    """Returns why the scores of a split are optimistic, for the dataset of the training itself."""
    reasons = {
        "train": "The network was trained on these patches, so these scores are far too good.",
        "val": "Validation chose the epoch, so these scores are optimistic.",
    }
    return [reasons[split]] if split in reasons else []


def of_comparison(values: Mapping[str, Any]) -> list[str]:
    """Returns the sentences about the intervals of a compare.json."""
    means = {name: [values[key]] for key, name in _MEANS.items()}
    classes = {c["name"]: [c[key] for key in _SCORES] for c in values["classes"]}
    single = {
        score: [c["name"] for c in values["classes"] if _in_one_block(c[key])]
        for key, score in _SCORES.items()
    }
    pixels = "pixels of the reference (for user's accuracy, of the map)"
    found = _without_interval(single, values["blocks"], "squares", pixels)
    return [*found, *_dropped(means | classes)]


def of_evaluation(values: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Returns the sentences about the intervals of a scores.json."""
    judged = [values["unet"], *([values["baseline"]] if values.get("baseline") else [])]
    means = {name: [j["intervals"][key] for j in judged] for key, name in _MEANS.items()}
    classes = {name: [j["classes"][name]["iou_interval"] for j in judged] for name in class_names}
    single = [name for name, figures in classes.items() if any(map(_in_one_block, figures))]
    unit = values["block_unit"]
    found = _without_interval({"IoU": single}, values["blocks"], unit, "labelled pixels")
    worse = _worse(values.get("difference") or {}, values["blocks"], unit)
    return [*worse, *found, *_dropped(means | classes)]


def _worse(differences: Mapping[str, Figure], blocks: int, unit: str) -> list[str]:
    """Returns in which scores the network is worse than the baseline, whatever places count."""
    names = {"overall_accuracy": "overall accuracy"} | _MEANS
    worse = [
        name
        for key, name in names.items()
        if key in differences and (differences[key]["high"] or 0) < 0
    ]
    if not worse:
        return []
    few = f", from {blocks} {unit} only" if blocks < FEW_BLOCKS else ""
    return [
        f"warning: the network is worse than the per-pixel baseline in {', '.join(worse)} (the "
        f"interval of the difference ends below 0{few}), so do not map with it before it was "
        "trained longer or otherwise; docs/training.md says which settings to turn first."
    ]


def _in_one_block(figure: Figure) -> bool:
    return figure["value"] is not None and figure.get("blocks") == 1


def _without_interval(
    classes_of: Mapping[str, Sequence[str]], blocks: int, unit: str, pixels: str
) -> list[str]:
    """Returns which classes lack an interval of a score although others have one."""
    single = [f"{score} of {', '.join(names)}" for score, names in classes_of.items() if names]
    if blocks < 2 or not single:
        return []
    return [
        f"There is no interval for {'; '.join(single)}: all their {pixels} lie in one of the "
        f"{unit}, which tells nothing about other places. What such classes add to the uncertainty "
        "of the means is unknown as well."
    ]


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
