"""What the model card and an export say of an evaluation."""

from landcover_tf.evaluation.kept_scores import totals, with_scores

CARD = "# model\n\n## Data\n\nmine\n\n## Limits\n\n- some\n\n## Made with\n\n| | |\n"


def scores(value=0.5, split="test", baseline=True, orientations=1):
    """Returns what scores.json holds of the totals."""
    interval = {"value": value, "low": value - 0.125, "high": value + 0.125, "blocks": 4}
    names = ("overall_accuracy", "mean_iou", "mean_f1")
    unknown = dict.fromkeys(("value", "low", "high"))
    return {
        "split": split, "patches": 35, "pixels": 433912, "blocks": 4, "block_unit": "squares",
        "orientations": orientations,
        "unet": {"intervals": dict.fromkeys(names, interval)},
        "baseline": {"kind": "lightgbm", "intervals": dict.fromkeys(names, unknown)}
        if baseline else None,
        "difference": dict.fromkeys(names, interval) if baseline else None,
    }  # fmt: skip


def test_the_card_gets_the_scores_before_the_limits_and_keeps_the_rest():
    card = with_scores(CARD, scores())
    head, section, rest = card.partition("\n\n## Scores on the test split\n")
    section, limits, rest = rest.partition("\n## Limits")
    assert head + "\n" + limits + rest == CARD
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[2]] == [
        "overall accuracy", "0.500 [0.375, 0.625]", "-", "+0.500 [+0.375, +0.625]"
    ]  # fmt: skip
    assert "35 patches, 433,912 labelled pixels; 95 % intervals by resampling 4 squares." in section


def test_scores_of_a_split_replace_those_of_that_split_only():
    both = with_scores(with_scores(CARD, scores()), scores(0.25, "val", baseline=False))
    assert both.count("## Scores on") == 2
    assert "| mean F1 | 0.250 [0.125, 0.375] |" in both and "so these scores are optimistic" in both
    again = with_scores(both, scores(0.75))
    assert again == with_scores(
        with_scores(CARD, scores(0.75)), scores(0.25, "val", baseline=False)
    )
    # Nor does a card that was cut short lose anything.
    assert with_scores("# model\n", scores()).startswith("# model\n\n## Scores on the test split\n")


def test_an_export_keeps_the_totals():
    found = totals(scores())
    assert found["mean_iou"] == {"value": 0.5, "low": 0.375, "high": 0.625}
    assert (found["pixels"], found["baseline"]["kind"]) == (433912, "lightgbm")
    assert totals(scores(baseline=False))["baseline"] is None


def test_scores_of_eight_orientations_are_not_given_as_those_of_one():
    found = scores(split="val", orientations=8)
    assert totals(found)["orientations"] == 8
    averaged = " squares. U-Net: mean probability of 8 orientations. Validation chose"
    assert averaged in with_scores(CARD, found)
    assert "orientations" not in with_scores(CARD, scores())
