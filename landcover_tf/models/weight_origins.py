"""Which file pretrained weights come from, and what input they expect."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.bands import BAND_NAMES, sentinel2_names
from landcover_tf.errors import ModelError
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models import pretrained
from landcover_tf.models.weight_files import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where weights come from and what input they expect: (f(reflectance) - mean) / std."""

    path: Path
    url: str = ""
    license: str = ""
    bands: tuple[str, ...] | None = None
    """None: decided by the number of channels."""
    expected: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and std of each band, or None where the weights expect what the model's own
    normalizer gives."""
    log_offset: float | None = None
    """f(r) is log(r + log_offset), or r where this is None."""

    def bands_of(self, channels: int, band_names: Sequence[str]) -> tuple[str, ...]:
        """Returns the band of each channel of the weights.

        Args:
            channels: Number of channels.
            band_names: Bands of the model, in order.

        Raises:
            ModelError: Nothing tells.
        """
        if self.bands is not None:
            return self.bands
        rgb, known = ("B04", "B03", "B02"), sentinel2_names(band_names)
        if channels == len(BAND_NAMES):
            # Of as many bands as the model's, a "red" may be one of its own sensor.
            named = band_names if len(band_names) == channels else known
            if set(named) & set(BAND_NAMES):
                return BAND_NAMES
        if channels == 3 and (len(band_names) != 3 or set(known) == set(rgb)):
            return rgb
        if channels == len(band_names):
            return tuple(band_names)
        raise ModelError(
            f"{self.path} is for {channels} bands without names, the model has {len(band_names)}: "
            f"{', '.join(band_names)}; expected 13 (Sentinel-2 order), 3 (red, green, blue) or as "
            "many as the model"
        )


def find_origin(source: str, encoder: str) -> Origin:
    """Returns the file of weights, downloaded if need be, and what it expects.

    Args:
        source: See `weights.load_encoder_weights`.
        encoder: Name of the encoder that they are for.

    Raises:
        ModelError: The weights are unknown, cannot be had, or are others than their name says.
    """
    if not source.endswith(SUFFIXES):
        weights = pretrained.find(source, encoder)
        return _published(weights, pretrained.fetch(weights))
    path = Path(source)
    for weights in pretrained.PRETRAINED:
        if path.name == weights.file_name and path.is_file():
            pretrained.check_hash(weights, path)
            return _published(weights, path)
    spec_path = path.with_name("model_spec.json")
    if not (path.name.endswith(".weights.h5") and spec_path.is_file()):
        return Origin(path=path)
    spec = ModelSpec.load(spec_path)
    return Origin(
        path=path,
        bands=spec.band_names,
        expected=(spec.normalizer.shift, tuple(1 / f for f in spec.normalizer.factor)),
        log_offset=spec.normalizer.log_offset,
    )


def _published(weights: pretrained.PretrainedWeights, path: Path) -> Origin:
    return Origin(
        path=path,
        url=weights.url,
        license=weights.license,
        bands=weights.bands,
        expected=(weights.mean, weights.std),
    )
