"""The page about a run and its map, put together from the parts of this package."""

from pathlib import Path
from typing import Any

from landcover_tf.accuracy import assessment_tables
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError
from landcover_tf.rasters.raster_legends import legend_tag, shortened
from landcover_tf.report import sections
from landcover_tf.report.assessment_sections import assessments
from landcover_tf.report.config import ReportConfig
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_section import map_provenance
from landcover_tf.report.map_tiles import build_pyramid
from landcover_tf.report.page import Card, Page, Section, viewer_data, write_page
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.earlier_reports import require_report
from landcover_tf.system.files import beside, read_json


def write_report(config: ReportConfig) -> Path:
    """Writes the page about a run, with a viewer if the config has a map, and returns its path.

    Raises:
        LandCoverError: The run is unfinished or not evaluated, a raster or an assessment is unfit,
            or something else than a report is in its place.
    """
    run = RunFolder(config.run_dir)
    run.require_finished()
    info = DatasetInfo.load(run.dataset)
    output = config.output or run.path / "report.html"
    require_report(output)
    for flag, path in (("--map", config.map), ("--reference-map", config.reference_map)):
        if path is not None:
            _check_legend(path, info, flag)
    cards, accuracy = _scores(run.evaluation(config.split), info)
    facts = None if config.map is None else MapFacts.read(config.map, info.legend)
    page = Page(
        title=f"Land cover: {run.path.name}",
        subtitle=f"Trained on dataset {info.name}, legend {info.legend.name}.",
        cards=[*_map_cards(config.assessment, facts), *cards],
        sections=_sections(config, run, info, accuracy, facts),
        viewer=_viewer(config, info, output, facts),
    )
    write_page(page, output)
    print(f"report: {output}")
    if config.map is not None and layers_of(config).probabilities is None:
        print(
            f"{beside(config.map, 'probabilities.tif')} does not exist, so the pixel inspector "
            "shows no class probabilities; `predict --probabilities` writes them beside single maps"
        )
    return output


def layers_of(config: ReportConfig) -> MapLayers:
    """Returns the rasters of a config with a map, given or found beside the map."""
    path = config.map
    if path is None:
        raise ConfigError("the viewer needs --map")

    def found(given: Path | None, name: str) -> Path | None:
        guess = beside(path, name)
        return given or (guess if guess.is_file() else None)

    return MapLayers(
        map=path,
        image=config.image,
        confidence=found(config.confidence, "confidence.tif"),
        reference=config.reference_map,
        probabilities=found(config.probabilities, "probabilities.tif"),
    )


def _scores(folder: Path, info: DatasetInfo) -> tuple[list[Card], Section]:
    """Returns the cards and the section of the evaluation in a folder."""
    path = folder / "scores.json"
    if not path.is_file():
        # A dataset that was rebuilt in place is another one than that of the training.
        others = sorted(other.parent.name for other in folder.parent.glob("*/scores.json"))
        shown = f"give one of --split {', '.join(others)}, or " if others else ""
        raise ConfigError(
            f"{path} does not exist; {shown}run `landcover evaluate --run-dir ...` before the "
            "report"
        )
    scores = read_json(path)
    try:
        another = sections.another_dataset(scores, info)
        return _cards(scores, another), sections.accuracy(scores, info.legend, another=another)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is no evaluation of this version and legend {info.legend.name} ({error!r}); "
            "run `landcover evaluate` again"
        ) from error


def _map_cards(paths: tuple[Path, ...], facts: MapFacts | None) -> list[Card]:
    """Returns the accuracy of maps as estimated from probability samples."""
    cards = []
    for path in paths:
        values = read_json(path)
        assessment_tables.check(values, str(path))
        if values.get("probability_sample"):
            text = assessment_tables.number(values["overall_accuracy"])
            shown = facts is not None and values["map_sha256"] == facts.sha256
            name = "the map" if shown else values["map"]
            label = f"accuracy of {name}, {100 * values['confidence']:g} % interval"
            cards.append(Card(value=text, label=label))
    return cards


def _cards(scores: dict[str, Any], another: str) -> list[Card]:
    unet = scores["unet"]
    figures = [
        ("overall accuracy", unet["overall_accuracy"]),
        ("mean IoU", unet["macro"]["iou"]),
        ("mean F1", unet["macro"]["f1"]),
    ]
    split = scores["split"] + (f" of {another}" if another else "")
    cards = [
        Card(value="-" if value is None else f"{value:.3f}", label=f"{label}, {split}")
        for label, value in figures
    ]
    label = "held-out pixels" if sections.held_out(scores, another) else f"pixels of {split}"
    return [*cards, Card(value=f"{scores['pixels']:,}", label=label)]


def _sections(
    config: ReportConfig,
    run: RunFolder,
    info: DatasetInfo,
    accuracy: Section,
    facts: MapFacts | None,
) -> list[Section]:
    folder = run.evaluation(config.split)
    found = [
        *assessments(config.assessment, facts),
        accuracy,
        sections.pictures(
            folder,
            "Confusion and calibration",
            "confusion",
            {
                "confusion_matrix.png": "Confusion matrix of the U-Net, rows are the reference",
                "reliability.png": "Accuracy against confidence, before and after calibration",
                "reliability_by_class.png": "The same for the probability of each class",
            },
        ),
        sections.pictures(
            folder, "Samples", "samples", {"predictions.png": "Evaluated patches and predictions"}
        ),
        sections.learning(run),
        sections.dataset(info),
        map_provenance(facts, info.legend) if facts else None,
        sections.provenance(info, run.read_summary(), run.read_config()),
        sections.colours(info.legend),
    ]
    return [section for section in found if section is not None]


def _viewer(
    config: ReportConfig, info: DatasetInfo, output: Path, facts: MapFacts | None
) -> dict[str, Any] | None:
    if facts is None:
        return None
    tiles = output.with_name(f"{output.stem}_tiles")
    pyramid = build_pyramid(layers_of(config), tiles, info.legend)
    return viewer_data(pyramid, info.legend, facts)


def _check_legend(path: Path, info: DatasetInfo, flag: str) -> None:
    """Raises ConfigError when a raster says that its codes are of another legend than the run's.

    A tag that is a text, as ESA's WorldCover has, names no legend; that is told.
    """
    tag, own = legend_tag(path), info.legend.name
    if tag is None or tag == own:
        return
    if len(tag.split()) > 1:
        print(
            f"the tag legend of {path}, {shortened(tag)!r}, names no legend; its codes are read as "
            f"those of {own}"
        )
        return
    raise ConfigError(
        f"{path} has codes of legend {tag}, the run of {own}; give {flag} in legend {own}"
    )
