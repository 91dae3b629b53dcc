"""`model_spec.json` of a run: what its network is, without the weights."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landcover_tf.configs import flag_ranges
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError, ModelError
from landcover_tf.system.files import read_json, write_json

SIZE_MULTIPLE = 32
"""Height and width of what a network takes are multiples of this: a ResNet halves them five times
on the way to its deepest level."""
DECODER_BLOCKS = 5
"""Doublings from the deepest level, 1/32, back to the input size."""
MIN_DEPTH = 2
"""Fewest stages of the encoder: the stem and the first stage of residual blocks."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that is needed to build the network again; weights come from a file."""

    encoder: str
    """resnet18, resnet34, resnet50 or resnet101."""
    encoder_depth: int = 5
    """Stages of the encoder that are used, each of which halves the image: 5 go down to 1/32."""
    band_names: tuple[str, ...]
    class_codes: tuple[int, ...]
    """Legend code of each output channel, in order."""
    normalizer: Normalizer
    skip_connections: int = 4
    """Skips wanted of the five of a full encoder, from coarse to fine; `joined_skips` are there."""
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)
    local_statistics: tuple[int, ...] = ()
    """Widths in pixels of the windows whose means and standard deviations join the input's
    skip."""

    def __post_init__(self) -> None:
        if self.normalizer.bands != self.band_names:
            raise ModelError(
                f"the normalizer is for bands {self.normalizer.bands}, the model for "
                f"{self.band_names}"
            )
        if not self.class_codes:
            raise ModelError("a model needs at least one class")
        check_unet(self)

    def save(self, path: str | Path) -> None:
        """Writes the specification as JSON."""
        write_json(path, asdict(self) | {"normalizer": self.normalizer.to_dict()})

    @staticmethod
    def load(path: str | Path) -> "ModelSpec":
        """Returns the specification in a file that `save` wrote.

        Raises:
            ModelError: The file is missing or malformed.
        """
        try:
            values = read_json(path)
            return ModelSpec(
                encoder=values["encoder"],
                encoder_depth=values["encoder_depth"],
                band_names=tuple(values["band_names"]),
                class_codes=tuple(values["class_codes"]),
                normalizer=Normalizer.from_dict(values["normalizer"]),
                skip_connections=values["skip_connections"],
                decoder_filters=tuple(values["decoder_filters"]),
                local_statistics=tuple(values["local_statistics"]),
            )
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ModelError(f"{path} is not a model specification: {error}") from error


def check_unet(settings: Any) -> None:
    """Refuses stages, skips, filters or windows that no U-Net has.

    Args:
        settings: A `ModelSpec`, or a training's config, whose flags bear the same names.

    Raises:
        ConfigError: Some are out of range.
    """
    flag_ranges.within(settings, MIN_DEPTH, DECODER_BLOCKS, "encoder_depth")
    flag_ranges.within(settings, 0, DECODER_BLOCKS, "skip_connections")
    filters, widths = settings.decoder_filters, settings.local_statistics
    if len(filters) != DECODER_BLOCKS or min(filters) < 1:
        raise ConfigError(f"--decoder-filters expects five numbers above 0, got {filters}")
    if widths and settings.skip_connections < DECODER_BLOCKS:
        raise ConfigError(
            "--local-statistics join the input's skip and need --skip-connections 5, got "
            f"{settings.skip_connections}"
        )
    if any(width < 3 or width % 2 == 0 for width in widths):
        given = " ".join(map(str, widths))
        raise ConfigError(f"--local-statistics must be odd numbers above 1, got {given}")


def joined_skips(skip_connections: int, encoder_depth: int) -> int:
    """Returns how many levels of an encoder, the input among them, a U-Net joins to its decoder.

    Skips count from 1/16, which a shallow encoder does not have.
    """
    return max(0, skip_connections - (5 - encoder_depth))
