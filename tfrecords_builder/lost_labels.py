"""Labels that the thresholds and the split take away, and classes that a split is left without."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from landcover_tf.legend import Legend
from tfrecords_builder.patches import Candidate
from tfrecords_builder.placements import (
    IN_GAP,
    NEAR_EARLIER,
    OUTSIDE_ZONES,
    TOO_FEW_LABELLED,
    TOO_FEW_VALID,
    Placement,
)
from tfrecords_builder.zones import SPLITS

ADVICE = {
    TOO_FEW_VALID: "lower --min-valid-fraction, or look at the images' no data and validity",
    TOO_FEW_LABELLED: "lower --min-labelled-fraction, or look at the labels",
    IN_GAP: "lower --gap-px, or take larger blocks",
    NEAR_EARLIER: "lower --gap-px, or take the earlier dataset's --block-size-m and --patch-size",
    OUTSIDE_ZONES: "draw the --zones over them",
}
"""What helps against each reason to drop a patch."""
MOST_DROPPED = 1 / 3
"""Share of the labels above which a warning names the flag that drops them."""
_SPREAD = "more input, other units of the split or another --seed may spread them"


def dropped_fractions(
    candidates: Sequence[Candidate], placements: Sequence[Placement]
) -> dict[str, float]:
    """Returns the share of the labelled pixels of all patches that each reason drops."""
    pixels: Counter[str] = Counter()
    for candidate, placement in zip(candidates, placements, strict=True):
        pixels[placement.split or placement.reason] += sum(candidate.class_pixels.values())
    total = max(pixels.total(), 1)
    return {reason: n / total for reason, n in sorted(pixels.items()) if reason not in SPLITS}


def label_warnings(
    candidates: Sequence[Candidate], placements: Sequence[Placement], legend: Legend
) -> list[str]:
    """Returns a warning for each reason that drops much of the labels, as of sparse polygons, and
    for the classes with labelled pixels of which a split has none.
    """
    shares = dropped_fractions(candidates, placements)
    told = [
        f"{shares[reason]:.0%} of the labelled pixels lie in patches that are dropped "
        f"({reason}); {advice}"
        for reason, advice in ADVICE.items()
        # Zones are drawn to leave ground out.
        if shares.get(reason, 0) > MOST_DROPPED and reason != OUTSIDE_ZONES
    ]
    lacking = _lacking(candidates, placements, legend)
    for (splits, main), names in lacking.items():
        where = main if main in SPLITS else f"patches that are dropped ({main})"
        told.append(
            f"no patch of {', '.join(splits)} has a labelled pixel of {', '.join(names)}; most of "
            f"these pixels lie in {where}: {ADVICE.get(main, _SPREAD)}"
        )
    return told


def _lacking(
    candidates: Sequence[Candidate], placements: Sequence[Placement], legend: Legend
) -> dict[tuple[tuple[str, ...], str], list[str]]:
    """Returns the classes by the splits that lack them and the split or reason that has most."""
    pixels: dict[int, Counter[str]] = defaultdict(Counter)
    for candidate, placement in zip(candidates, placements, strict=True):
        for code, count in candidate.class_pixels.items():
            pixels[code][placement.split or placement.reason] += count
    splits = [split for split in SPLITS if any(p.split == split for p in placements)]
    found = defaultdict(list)
    for one in legend.classes:
        places = +pixels[one.code]
        lacking = tuple(split for split in splits if not places[split])
        if places and lacking:
            found[lacking, places.most_common(1)[0][0]].append(one.name)
    return found
