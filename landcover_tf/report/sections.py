"""Sections of the report, each from the files of one step of the chain."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landcover_tf.accuracy import interval_sentences
from landcover_tf.accuracy.assessment_tables import TextTable, number
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.legend import Legend
from landcover_tf.report.page import Picture, Section, percent
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.learning_curves import learning_curves
from landcover_tf.visuals.colour_vision import closest_pairs
from landcover_tf.visuals.html_pages import figure_url


def provenance(info: DatasetInfo, summary: Mapping[str, Any], config: Mapping[str, Any]) -> Section:
    """Returns where the data came from and how the model was made."""
    products = [
        (p.id, p.tile or "-", p.sensing_time or "-", p.baseline or "-", str(p.orbit or "-"))
        for p in info.products
    ]
    shown = products[:40]
    caption = f"Products ({len(products)}" + (
        f", the first {len(shown)})" if len(products) > 40 else ")"
    )
    machine = summary["software"] | summary["hardware"]
    return Section(
        id="provenance",
        title="Provenance",
        paragraphs=[
            "Product → prepared scene → records → training → export → map. Each step wrote its "
            "settings and versions beside its output; this section repeats what they say.",
        ],
        tables=[
            TextTable(
                header=("product", "tile", "sensing time", "baseline", "orbit"),
                rows=shown,
                caption=caption,
            ),
            TextTable(
                header=("item", "value"),
                rows=[
                    ("dataset", f"{info.name}, hash {info.data_hash}"),
                    *((key, str(value)) for key, value in machine.items()),
                ],
                caption="Software and machine",
            ),
            TextTable(
                header=("setting", "value"),
                rows=[(key, _plain(value)) for key, value in sorted(config.items())],
                caption="Training settings",
            ),
        ],
    )


def dataset(info: DatasetInfo) -> Section:
    """Returns the dataset card: splits, class shares and band statistics."""
    names = list(info.splits)
    fractions = [split.class_fractions for split in info.splits.values()]
    shares = [
        (f"{c.code} {c.name}", *(percent(split.get(c.code, 0)) for split in fractions))
        for c in info.legend.classes
    ]
    bands = [
        (name, *(f"{figure:.4f}" for figure in figures))
        for name, figures in zip(info.band_names, info.band_figures(2, 98).T, strict=True)
    ]
    grid = info.patch_grid
    records = ", ".join(f"{n} {info.splits[n].records}" for n in names)
    return Section(
        id="dataset",
        title="Dataset",
        paragraphs=[
            f"Patches of {grid.patch_size} px with {grid.patch_overlap} px overlap, "
            f"{_split_rule(info)}. Records: {records}.",
        ],
        tables=[
            TextTable(header=("class", *names), rows=shares, caption="Share of usable pixels"),
            TextTable(
                header=("band", "mean", "standard deviation", "2 %", "98 %"),
                rows=bands,
                caption=f"Reflectance of {info.statistics.count:,} usable training pixels",
            ),
        ],
    )


def another_dataset(scores: Mapping[str, Any], info: DatasetInfo) -> str:
    """Returns the name of the evaluated dataset where it is not the run's own, else nothing."""
    own = scores["data_hash"] == info.data_hash
    return "" if own else f"{scores['dataset']} {scores['data_hash']}"


def accuracy(scores: Mapping[str, Any], legend: Legend, *, another: str = "") -> Section:
    """Returns totals and per-class scores of the network beside the baseline, with intervals.

    Args:
        scores: Contents of `scores.json`.
        legend: The run's.
        another: What `another_dataset` returned.
    """
    judged = [scores["unet"], *([scores["baseline"]] if scores.get("baseline") else [])]
    totals = [
        (title, *(number(j["intervals"][key]) for j in judged))
        for key, title in (
            ("overall_accuracy", "overall accuracy"),
            ("mean_iou", "mean IoU"),
            ("mean_f1", "mean F1"),
        )
    ]
    totals.append(("calibration error", *_calibration_errors(scores)))
    classes = []
    for name in legend.names:
        own = scores["unet"]["classes"][name]
        others = [_number(j["classes"][name]["iou"]) for j in judged[1:]]
        classes.append(
            (
                name,
                f"{own['support']:,}",
                *(_number(own[key]) for key in ("precision", "recall", "f1")),
                number(own["iou_interval"]),
                *others,
            )
        )
    baseline = ["per-pixel baseline"] if len(judged) > 1 else []
    which = "held-out patches" if held_out(scores, another) else f"patches of {scores['split']}"
    return Section(
        id="accuracy",
        title=f"Agreement on {f'dataset {another}' if another else which}",
        paragraphs=[
            *(_not_held_out(another) or interval_sentences.of_split(scores["split"])),
            f"{scores['patches']} patches of split {scores['split']} of dataset "
            f"{scores['dataset']}. Intervals are 95 %, from {scores['bootstrap_samples']} "
            f"resamplings of {scores['blocks']} {scores['block_unit']}. The labels are a map or a "
            "survey of their own: this is agreement with them; accuracy of a map needs a "
            "probability sample.",
            *interval_sentences.of_evaluation(scores, legend.names),
        ],
        tables=[
            TextTable(header=("", "U-Net", *baseline), rows=totals),
            TextTable(
                header=(
                    "class", "pixels", "precision", "recall", "F1", "IoU",
                    *(f"IoU of the {name}" for name in baseline),
                ),
                rows=classes,
            ),
        ],
    )  # fmt: skip


def held_out(scores: Mapping[str, Any], another: str) -> bool:
    """Returns whether the training saw nothing of the scored patches, as far as its split tells."""
    return not another and not interval_sentences.of_split(scores["split"])


def _not_held_out(another: str) -> list[str]:
    if not another:
        return []
    return [
        f"Dataset {another} is not that of the training. The run's split did not hold its patches "
        "out, so they may show ground that was trained on."
    ]


def _calibration_errors(scores: Mapping[str, Any]) -> list[str]:
    """Returns the error of the network's probabilities, and of the baseline's if there is one."""
    own = scores["calibration"]
    text = _number(own["ece"])
    if own["method"] != "none":
        text += f", calibrated {_number(own['ece_calibrated'])}"
    if not scores.get("baseline"):
        return [text]
    return [text, _number(scores["baseline"]["calibration"]["ece"])]


def learning(run: RunFolder) -> Section | None:
    """Returns the learning curves of a run, None where it kept no history.

    Raises:
        RunError: The history is damaged.
    """
    if not run.history.is_file():
        return None
    figure = learning_curves(run.read_history(), run.read_summary().get("best_epoch"))
    return Section(
        id="learning",
        title="Learning curves",
        pictures=[Picture(url=figure_url(figure), alt="Loss, scores and learning rate by epoch")],
    )


def colours(legend: Legend) -> Section:
    """Returns how well the legend's colours are told apart with each kind of vision."""
    rows = [
        (
            pair.vision,
            f"{pair.first} / {pair.second}",
            f"{pair.difference:.1f}",
            "yes" if pair.distinct else "no",
        )
        for pair in closest_pairs(legend)
    ]
    return Section(
        id="colours",
        title="Colours",
        paragraphs=[f"The two colours of legend {legend.name} that look most alike."],
        tables=[
            TextTable(header=("vision", "classes", "CIEDE2000", "told apart"), rows=rows),
        ],
    )


def pictures(folder: Path, title: str, section_id: str, names: Mapping[str, str]) -> Section | None:
    """Returns the PNG files of a folder that are there, None when none is.

    Args:
        folder: Where to look.
        title: Heading of the section.
        section_id: Anchor of the section.
        names: Description of each file name.
    """
    found = [
        Picture.from_file(folder / name, alt)
        for name, alt in names.items()
        if (folder / name).is_file()
    ]
    return Section(id=section_id, title=title, pictures=found) if found else None


def _split_rule(info: DatasetInfo) -> str:
    """Returns how the patches were split, with the geometry that keeps the splits apart."""
    build = info.build_config
    if "split" not in build:
        return "split by an unrecorded rule"
    rule, side_m, side_px = build["split"], build.get("block_size_m"), build.get("block_size_px")
    if rule == "blocks" and side_px is not None:
        rule = f"blocks of {side_px:,} px"
    elif rule == "blocks" and side_m is not None:
        rule = f"blocks of {side_m:,.0f} m"
    return (
        f"split by {rule} with seed {build.get('seed', '-')} and a gap of {info.gap_px} px between "
        "splits"
    )


def _number(value: float | None) -> str:
    return number({"value": value})


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
