"""Is a scene like the training data? Bands of the scene against the statistics of the model.

A network answers with confidence far outside of what it was trained on: a forgotten radiometric
offset, another sensor, snow. So a sample of the pixels that get a class is compared with the
training pixels, band by band and jointly. Only values that training did not hold speak against
a scene: one of water alone differs in its mixture from the training data, and is known to the
model all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from landcover_tf.accuracy.drift import Distribution, compare, outside_fraction
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import ModelError
from landcover_tf.model_info import ModelInfo

MAX_OUTSIDE_FRACTION = 0.1
"""Of 124 training images of HLS the most foreign one had 0.015, of 64 held-out ones 0.006. With
reflectance too small by 0.1, as of a forgotten offset, and with values ten times too large every
one of them was over the limit."""

LEAST_FRACTION = 0.01
"""Share of pixels above which one value in all bands is told, as the builder does."""


@dataclass(frozen=True, kw_only=True)
class Applicability:
    """How far a scene's pixels are from those that the model was trained on."""

    pixels: int
    """Pixels of the sample."""
    stability_index: Mapping[str, float]
    """Population stability index of each band; 0 is the training data's own distribution. It tells
    how the scene is composed: one homogeneous scene of a varied training set has 1 to 8."""
    outside_fraction: float
    """Share of pixels that leave the range of the training data in some band."""

    @property
    def median_stability_index(self) -> float:
        """The index of the middle band."""
        return float(median(self.stability_index.values()))

    @property
    def applicable(self) -> bool:
        """Whether the model has seen values like those of this scene."""
        return self.outside_fraction <= MAX_OUTSIDE_FRACTION

    def warning(self, name: str) -> str:
        """Returns one sentence for the user of a scene that is not applicable."""
        differing = max(self.stability_index, key=lambda band: self.stability_index[band])
        return (
            f"{name} is outside of what the model was trained on, distrust its map: "
            f"{100 * self.outside_fraction:.0f} % of its pixels leave the range of the training "
            f"data in some band (limit {100 * MAX_OUTSIDE_FRACTION:.0f} %), and {differing} "
            "differs most; check its scale, offset and season"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "applicable": self.applicable,
            "pixels": self.pixels,
            "outside_fraction": round(self.outside_fraction, 6),
            "median_stability_index": round(self.median_stability_index, 6),
            "stability_index": {k: round(v, 6) for k, v in self.stability_index.items()},
            "limits": {"outside_fraction": MAX_OUTSIDE_FRACTION},
        }


def alike_fractions(samples: Sequence[np.ndarray], info: ModelInfo) -> dict[float, float]:
    """Returns which shares of the pixels hold one value in all bands, as undeclared no data does.

    Looked for are the least and the greatest value, and those for 0 as stored and as reflectance;
    shares of up to LEAST_FRACTION are left out.

    Args:
        samples: Stored values of pixels with data, [pixels, bands] each.
        info: The model's contract.

    Returns:
        Shares by reflectance.
    """
    filled = [sample for sample in samples if len(sample)]
    band = info.bands[-1]
    if not filled or len(info.bands) == 1:
        return {}
    pixels = np.concatenate(filled)
    last = pixels[:, -1]
    # The first band of such pixels may have been moved from the model's no-data value.
    unit = 1 if pixels.dtype.kind in "iu" else 2e-6 / band.scale
    alike = last[pixels.max(axis=1) - pixels.min(axis=1) <= unit]
    suspects = {
        0.0,
        float(np.rint(-band.offset / band.scale)),
        float(last.min()),
        float(last.max()),
    }
    shares = {value: np.count_nonzero(alike == value) / len(pixels) for value in suspects}
    return {
        value * band.scale + band.offset: share
        for value, share in sorted(shares.items())
        if share > LEAST_FRACTION
    }


def assess(samples: Sequence[np.ndarray], info: ModelInfo) -> Applicability | None:
    """Returns how a scene compares with the model's training data.

    Args:
        samples: Stored values of pixels with data, [pixels, bands] each.
        info: The model's contract.

    Returns:
        None if the model carries no statistics or no pixel has data.

    Raises:
        ModelError: The statistics are of other bands than the model.
    """
    filled = [sample for sample in samples if len(sample)]
    if not info.statistics or not filled:
        return None
    training = BandStatistics.from_dict(info.statistics)
    if training.names != info.band_names:
        raise ModelError(
            f"the statistics of model {info.name!r} are of bands {', '.join(training.names)}, the "
            f"model takes {', '.join(info.band_names)}; export it again"
        )
    pixels = np.concatenate(filled)
    drift = compare(
        Distribution(statistics=training, class_fractions={}),
        Distribution(
            statistics=BandStatistics.from_pixels(pixels, training.names), class_fractions={}
        ),
    )
    return Applicability(
        pixels=len(pixels),
        stability_index={band.name: band.stability_index for band in drift.bands},
        outside_fraction=outside_fraction(pixels, training, info.nodata),
    )
