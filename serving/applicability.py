"""Is a scene like the training data? Bands of the scene against the statistics of the model.

A network answers with confidence far outside of what it was trained on: a forgotten radiometric
offset, another sensor, snow. So a sample of the pixels that get a class is compared with the
training pixels, band by band and jointly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from landcover_tf.accuracy.drift import Distribution, compare, outside_fraction
from landcover_tf.errors import ModelError
from landcover_tf.model_info import ModelInfo
from landcover_tf.normalizer import BandStatistics

MAX_OUTSIDE_FRACTION = 0.1
"""Simulated scenes with clouds had 0.04 to 0.06, without clouds 0.004 to 0.014, and with a
forgotten radiometric offset 1."""
MAX_STABILITY_INDEX = 0.25
"""The usual limit of "another population"; here of the median over bands, because haze alone
moves B01 and B02 of a good scene over it."""


@dataclass(frozen=True, kw_only=True)
class Applicability:
    """How far a scene's pixels are from those that the model was trained on."""

    pixels: int
    """Pixels of the sample."""
    stability_index: Mapping[str, float]
    """Population stability index of each band; 0 is the training data's own distribution."""
    outside_fraction: float
    """Share of pixels that leave the training data's 0.1 to 99.9 percentile in some band."""

    @property
    def median_stability_index(self) -> float:
        """The index of the middle band."""
        return float(median(self.stability_index.values()))

    @property
    def applicable(self) -> bool:
        """Whether the model knows scenes like this one."""
        return (
            self.outside_fraction <= MAX_OUTSIDE_FRACTION
            and self.median_stability_index <= MAX_STABILITY_INDEX
        )

    def warning(self, name: str) -> str:
        """Returns one sentence for the user of a scene that is not applicable."""
        worst = max(self.stability_index, key=lambda band: self.stability_index[band])
        return (
            f"{name} is unlike the training data, distrust its map: "
            f"{100 * self.outside_fraction:.0f} % of its pixels are outside the training range "
            f"(limit {100 * MAX_OUTSIDE_FRACTION:.0f} %), the stability index is "
            f"{self.median_stability_index:.2f} in the median of the bands (limit "
            f"{MAX_STABILITY_INDEX}) and {self.stability_index[worst]:.2f} in {worst}; check its "
            "scale, offset and season"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "applicable": self.applicable,
            "pixels": self.pixels,
            "outside_fraction": round(self.outside_fraction, 6),
            "median_stability_index": round(self.median_stability_index, 6),
            "stability_index": {k: round(v, 6) for k, v in self.stability_index.items()},
            "limits": {
                "outside_fraction": MAX_OUTSIDE_FRACTION,
                "median_stability_index": MAX_STABILITY_INDEX,
            },
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
