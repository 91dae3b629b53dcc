"""What is stored of a finished row band: classes, confidence, and more on request, as bytes."""

from dataclasses import dataclass

import numpy as np

from landcover_tf.legend import IGNORED

LEVELS = 254
"""Probabilities, confidence and entropy are stored as round(value * 254); 255 is no data."""
BASE_LAYERS = ("class", "confidence")
_ENTROPY_PX = 2**18
"""Pixels whose entropy is computed at a time: what lies between takes twice the room of their
probabilities."""


@dataclass(frozen=True, kw_only=True)
class BandContent:
    """What is kept of the probabilities of a row band."""

    classes: int
    """Number of classes."""
    entropy: bool = False
    """Store the entropy of the probabilities, relative to its maximum log(classes)."""
    probabilities: bool = False
    """Store the probability of every class."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stored layers."""
        names = BASE_LAYERS + (("entropy",) if self.entropy else ())
        return names + tuple(f"probability_{i}" for i in range(self.classes) if self.probabilities)

    @property
    def decision_only(self) -> bool:
        """Whether class and confidence are all that is kept."""
        return not (self.entropy or self.probabilities)


def encode_band(band: np.ndarray, excluded: np.ndarray, content: BandContent) -> np.ndarray:
    """Returns the stored layers of a band, uint8 [layers, rows, width].

    Args:
        band: Probabilities, float32 [rows, width, classes]; or decisions, uint8 [rows, width, 2].
        excluded: True where there is no class, bool [rows, width].
        content: What to keep.
    """
    if band.dtype == np.uint8:
        layers = np.ascontiguousarray(np.moveaxis(band, -1, 0))
    else:
        layers = np.empty((len(content.layers), *band.shape[:2]), np.uint8)
        layers[0] = band.argmax(axis=-1)
        layers[1] = quantise(band.max(axis=-1))
        if content.entropy:
            rows = max(_ENTROPY_PX // band.shape[1], 1)
            for start in range(0, len(band), rows):
                part = slice(start, start + rows)
                layers[2, part] = quantise(relative_entropy(band[part]))
        if content.probabilities:
            for i in range(content.classes):
                layers[i - content.classes] = quantise(band[..., i])
    layers[:, excluded] = IGNORED
    return layers


def quantise(values: np.ndarray) -> np.ndarray:
    """Returns values in [0, 1] as uint8 levels in 0..254."""
    return np.asarray(np.rint(np.clip(values, 0, 1) * np.float32(LEVELS)).astype(np.uint8))


def relative_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Returns -sum(p log p) / log(classes) over the last axis; 0 is certain, 1 is uniform."""
    safe = np.maximum(probabilities, 1e-12)
    entropy = -(probabilities * np.log(safe)).sum(axis=-1)
    return np.asarray(entropy / np.log(max(probabilities.shape[-1], 2)))
