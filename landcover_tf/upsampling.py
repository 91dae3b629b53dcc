"""How the 20 m and 60 m bands come to 10 m, which a model is used to from its training."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

from landcover_tf.bands import band
from landcover_tf.errors import RasterError

Resampling = Literal["nearest", "bilinear", "bicubic"]
Sharpening = Literal["none", "brovey", "hpf", "glp", "locreg"]


@dataclass(frozen=True, kw_only=True)
class Upsampling:
    """How the coarser bands of scenes came to 10 m."""

    resampling: Resampling = "bicubic"
    sharpening: Sharpening = "none"

    def __post_init__(self) -> None:
        for name, known in (("resampling", Resampling), ("sharpening", Sharpening)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"unknown {name} {getattr(self, name)!r}")

    def __str__(self) -> str:
        return f"--resampling {self.resampling} --sharpening {self.sharpening}"

    @staticmethod
    def from_dict(values: Mapping[str, Any] | None) -> "Upsampling | None":
        """Returns what a JSON object with at least `resampling` and `sharpening` says.

        None stays None: older files and plain rasters do not tell.

        Raises:
            KeyError, TypeError, ValueError: It is malformed.
        """
        if values is None:
            return None
        return Upsampling(resampling=values["resampling"], sharpening=values["sharpening"])


def any_coarse(names: Sequence[str]) -> bool:
    """Returns whether any of the bands is a Sentinel-2 band of 20 m or 60 m."""
    for name in names:
        with suppress(RasterError):  # A band of another sensor.
            if band(name).resolution_m > 10:
                return True
    return False
