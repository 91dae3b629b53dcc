"""What the model card and an export keep of an evaluation, which is the scores.json of a split."""

from collections.abc import Mapping
from typing import Any

from landcover_tf.accuracy.bootstrap import Interval
from landcover_tf.accuracy.interval_sentences import of_split
from landcover_tf.evaluation.report import TITLES, shown


def totals(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how much was scored and how, and the totals with intervals, also the baseline's."""
    baseline = scores.get("baseline")
    kept = ("patches", "pixels", "blocks", "block_unit", "orientations")
    return {
        **{name: scores[name] for name in kept},
        **_ends(scores["unet"]["intervals"]),
        "baseline": baseline and {"kind": baseline["kind"], **_ends(baseline["intervals"])},
    }


def with_scores(card: str, scores: Mapping[str, Any]) -> str:
    """Returns a model card with the scores of a split, in place of earlier ones of that split."""
    title = f"## Scores on the {scores['split']} split"
    before, found, after = card.partition(f"{title}\n")
    if found:
        _, heading, after = after.partition("\n## ")
    else:
        before, heading, after = card.partition("\n## Limits")
    end = heading + after if heading else "\n"
    return f"{before.rstrip()}\n\n{title}\n\n{_section(scores)}\n{end}".rstrip() + "\n"


def _section(scores: Mapping[str, Any]) -> str:
    columns = {"U-Net": scores["unet"]["intervals"]}
    if scores["baseline"]:
        columns[f"per-pixel {scores['baseline']['kind']}"] = scores["baseline"]["intervals"]
        columns["difference"] = scores["difference"]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, title in TITLES.items():
        cells = (
            shown(_interval(intervals[name]), signed=column == "difference")
            for column, intervals in columns.items()
        )
        rows.append([title, *cells])
    many = scores["orientations"]
    averaged = f" U-Net: mean probability of {many} orientations." if many > 1 else ""
    optimistic = "".join(f" {sentence}" for sentence in of_split(scores["split"]))
    return "\n".join([
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{scores['patches']} patches, {scores['pixels']:,} labelled pixels; 95 % intervals by "
        f"resampling {scores['blocks']} {scores['block_unit']}."
        f"{averaged}{optimistic}",
    ])  # fmt: skip


def _interval(figure: Mapping[str, Any]) -> Interval:
    ends = (float("nan") if figure[n] is None else figure[n] for n in ("value", "low", "high"))
    value, low, high = ends
    return Interval(value=value, low=low, high=high, blocks=figure.get("blocks", 0))


def _ends(intervals: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: {end: intervals[name][end] for end in ("value", "low", "high")} for name in TITLES
    }
