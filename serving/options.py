"""What a prediction is asked to do, in groups that travel to worker processes.

Defaults are those of `PredictConfig`, where most fields are explained.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from landcover_tf.configs.config_parts import part
from landcover_tf.errors import ConfigError
from landcover_tf.model_info import ModelInfo
from serving.config import (
    EngineChoice,
    ModeChoice,
    Precision,
    PredictConfig,
    Weighting,
)
from serving.postprocess import Cleaning, with_uncertain
from serving.source import SourceOptions


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """How the network runs over a raster."""

    mode: ModeChoice
    patch_size: int
    patch_overlap: int
    weighting: Weighting
    batch_size: int
    margin_px: int | None
    """Margin of exact mode; None takes the model's."""
    tta: bool
    engine: EngineChoice
    precision: Precision
    server: str | None
    server_timeout_s: float
    memory_gb: float


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Which files are written beside the map."""

    confidence: bool
    probabilities: bool
    entropy: bool
    vector: bool
    stac: bool
    picture: bool
    reference_map: Path | None
    request_log: Path | None

    def of_mosaic(self) -> "OutputOptions":
        """Returns what is written beside the mosaic of maps that these are written beside."""
        # Entropy and probabilities stay with the single maps.
        return replace(self, entropy=False, probabilities=False)


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """Everything about a prediction but the model, the input and where the map goes."""

    network: NetworkOptions
    source: SourceOptions
    cleaning: Cleaning
    outputs: OutputOptions
    overwrite: bool


def single_maps(config: PredictConfig) -> PredictConfig:
    """Returns the config of the maps that a mosaic is merged of, or without a mosaic `config`.

    Small objects are removed when all maps are merged: what is small on one side of a border may
    go on beyond it. Before that, polygons would be as many as the specks.
    """
    if not config.mosaic:
        return config
    return replace(config, mosaic=False, confidence=True, min_object_size=0, sieve=(), vector=False)


def options_of(config: PredictConfig, info: ModelInfo) -> PredictionOptions:
    """Returns the options that the flags stand for with a model.

    Raises:
        ConfigError: As `cleaning_of`.
    """
    return PredictionOptions(
        network=network_options(config),
        source=part(SourceOptions, config),
        cleaning=cleaning_of(config, info),
        outputs=output_options(config),
        overwrite=config.overwrite,
    )


def network_options(config: PredictConfig) -> NetworkOptions:
    """Returns how the network is to run."""
    return part(
        NetworkOptions,
        config,
        precision="float32" if config.precision == "float32" else "bf16",
        margin_px=config.margin,
        server_timeout_s=config.server_timeout,
    )


def output_options(config: PredictConfig) -> OutputOptions:
    """Returns which files are to be written."""
    # A mosaic is decided by confidence.
    return part(OutputOptions, config, confidence=config.confidence or config.mosaic)


def cleaning_of(config: PredictConfig, info: ModelInfo) -> Cleaning:
    """Returns the post-processing, with dense class indices for names of classes.

    Raises:
        ConfigError: A class is unknown or a number is out of range.
    """
    legend, class_codes = info.legend, info.class_codes
    if config.uncertain_below > 0:
        legend = with_uncertain(legend)
        class_codes = (*class_codes, legend.codes[-1])
    sieve = {}
    for entry in config.sieve:
        name, _, pixels = entry.rpartition("=")
        codes = [c.code for c in legend.classes if name in (c.name, str(c.code))]
        if not pixels.isdecimal() or len(codes) != 1 or codes[0] not in class_codes:
            raise ConfigError(
                f"--sieve expects CLASS=PIXELS with a class of legend {legend.name!r} "
                f"({', '.join(legend.names)}), got {entry!r}"
            )
        sieve[class_codes.index(codes[0])] = int(pixels)
    known = {c.code: c for c in legend.classes}
    classes = tuple(known[code] for code in class_codes)
    try:
        size = config.min_object_size
        return part(Cleaning, config, classes=classes, min_object_px=size, sieve=sieve)
    except ValueError as error:
        raise ConfigError(f"post-processing: {error}") from error
