"""What one source tells of a product's clouds."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class CloudMask:
    """Cloud classes on the 60 m grid, each bool [height, width]."""

    opaque: np.ndarray
    cirrus: np.ndarray
    snow: np.ndarray
    shadow: np.ndarray | None = None
    """None if the source does not know shadows; they are then projected."""
    covered_fraction: float = 1.0
    """Share of the tile that the source tells about; the rest counts as clear."""

    @property
    def cloudy(self) -> np.ndarray:
        """Where opaque cloud or cirrus is, bool [height, width]."""
        return np.asarray(self.opaque | self.cirrus)

    def cloud_fraction(self, data_px: np.ndarray) -> float | None:
        """Returns the share of the pixels with data that are under opaque cloud or cirrus.

        Args:
            data_px: Pixels of 10 m with data in each of the mask's, integers [height, width].

        Returns:
            None where no pixel has data.
        """
        total = int(data_px.sum())
        return int(data_px[self.cloudy].sum()) / total if total else None

    @staticmethod
    def none(height: int, width: int) -> "CloudMask":
        """Returns a mask without any cloud or shadow."""
        clear = np.zeros((height, width), bool)
        return CloudMask(opaque=clear, cirrus=clear, snow=clear, shadow=clear)
