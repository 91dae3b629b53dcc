"""How far apart a legend's colours are for people with colour-blindness."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from landcover_tf.legend import Legend

# Machado, Oliveira & Fernandes (2009), IEEE TVCG 15(6), severity 1.0; for linear RGB.
_SIMULATION = {
    "normal vision": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}

DISTINCT = 10.0
"""Colours at least this far apart (CIEDE2000) are told apart side by side without effort."""


@dataclass(frozen=True, kw_only=True)
class ColourPair:
    """The two classes that look most alike for one kind of vision."""

    vision: str
    first: str
    second: str
    difference: float
    """CIEDE2000 colour difference."""

    @property
    def distinct(self) -> bool:
        """Whether the pair, and so every pair, is told apart."""
        return self.difference >= DISTINCT


def simulate(rgb: np.ndarray, vision: str) -> np.ndarray:
    """Returns colours as seen with a kind of vision.

    Args:
        rgb: sRGB in 0..1, [..., 3].
        vision: normal vision, protanopia, deuteranopia or tritanopia.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ _SIMULATION[vision].T, 0, 1)
    return np.asarray(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))


def closest_pairs(legend: Legend) -> list[ColourPair]:
    """Returns, for each kind of vision, the pair of classes that look most alike."""
    colours = np.array([c.rgb for c in legend.classes], float) / 255
    pairs = []
    for vision in _SIMULATION:
        lab = rgb2lab(simulate(colours, vision)[None])[0]
        candidates = [
            (float(deltaE_ciede2000(lab[i], lab[j])), i, j)
            for i, j in combinations(range(len(colours)), 2)
        ]
        if candidates:
            difference, i, j = min(candidates)
            pairs.append(
                ColourPair(
                    vision=vision,
                    first=legend.names[i],
                    second=legend.names[j],
                    difference=difference,
                )
            )
    return pairs
