"""How often and how strongly training batches are augmented: presets and files of settings.

Importing this imports no TensorFlow, so that a wrong file is told at once.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from landcover_tf.configs import cli
from landcover_tf.errors import ConfigError

BLENDS = ("hard", "feathered", "poisson")
FILE_SUFFIXES = (".toml", ".json")
# Each is compared with every pixel of its patch.
MOST_OBJECTS = 100
PROBABILITIES = (
    "copy_paste",
    "cutmix",
    "affine",
    "flip",
    "turn",
    "jitter",
    "haze",
    "cloud_shadow",
    "noise",
    "band_drop",
    "cutout",
)
"""The augmentations in the order in which they are done."""

OF_REFLECTANCE = ("jitter", "haze", "noise")
"""Those whose strength, or brightness, is one of reflectance."""


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Probabilities (share of patches, 0 switches off) and strengths of every augmentation."""

    flip: float = 0.0
    """Probability of a mirror image, for each axis."""
    turn: float = 0.0
    """Probability of a turn by one, two or three quarters."""
    affine: float = 0.0
    """Probability of scaling, rotation and shift together."""
    max_scale: float = 0.25
    """0.25 magnifies by 1/1.25 to 1.25."""
    max_rotation_deg: float = 20.0
    """Largest rotation in degrees."""
    max_shift: float = 0.1
    """Largest shift as a share of the patch size."""
    jitter: float = 0.0
    """Probability of a gain and an offset for each band."""
    gain_std: float = 0.06
    """Standard deviation of the gains about 1."""
    offset_std: float = 0.008
    """Standard deviation of the offsets, in reflectance."""
    haze: float = 0.0
    """Probability of haze."""
    max_haze: float = 0.3
    """Largest opacity of the haze in the blue band."""
    cloud_shadow: float = 0.0
    """Probability of cloud shadows."""
    max_darkening: float = 0.5
    """Largest share of the light that a shadow takes."""
    noise: float = 0.0
    """Probability of nearly normal noise."""
    noise_std: float = 0.01
    """Largest standard deviation of the noise, in reflectance."""
    band_drop: float = 0.0
    """Probability of losing bands."""
    band_drop_fraction: float = 0.15
    """Chance of each band to be lost where bands are lost."""
    cutout: float = 0.0
    """Probability of a rectangular hole of no data."""
    cutout_fraction: float = 0.2
    """Largest share of the patch that a hole takes."""
    cutmix: float = 0.0
    """Probability of a rectangle from another patch."""
    cutmix_fraction: float = 0.5
    """Largest share of the patch that comes from another one."""
    copy_paste: float = 0.0
    """Probability of objects of rare classes from another patch."""
    paste_objects: int = 3
    """Largest number of pasted objects in a patch."""
    paste_smallest_px: int = 12
    """Smaller objects are not copied."""
    paste_blend: str = "feathered"
    """`hard`, `feathered` or `poisson`."""

    def __post_init__(self) -> None:
        shares = {"max_shift", "max_haze", "max_darkening"}
        for field in fields(self):
            value = getattr(self, field.name)
            in_unit = field.name in (*PROBABILITIES, *shares) or field.name.endswith("_fraction")
            if in_unit and not 0 <= value <= 1:
                raise ConfigError(f"{field.name} must be in [0, 1], got {value}")
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise ConfigError(f"{field.name} must be at least 0 and finite, got {value}")
        if self.paste_objects > MOST_OBJECTS:
            raise ConfigError(
                f"paste_objects must be at most {MOST_OBJECTS}, got {self.paste_objects}"
            )
        if self.paste_blend not in BLENDS:
            raise ConfigError(
                f"paste_blend must be one of {', '.join(BLENDS)}, got {self.paste_blend!r}"
            )


PRESETS = {
    "none": AugmentationSettings(),
    "light": AugmentationSettings(flip=0.5, turn=0.75),
    "standard": AugmentationSettings(
        flip=0.5,
        turn=0.75,
        affine=0.3,
        jitter=0.5,
        haze=0.1,
        cloud_shadow=0.1,
        noise=0.2,
        copy_paste=0.2,
    ),
    "strong": AugmentationSettings(
        flip=0.5,
        turn=0.75,
        affine=0.6,
        max_scale=0.5,
        max_rotation_deg=45.0,
        jitter=0.8,
        gain_std=0.1,
        offset_std=0.015,
        haze=0.25,
        cloud_shadow=0.25,
        noise=0.4,
        band_drop=0.2,
        cutout=0.25,
        cutmix=0.25,
        copy_paste=0.4,
    ),
}


def check_name(name_or_path: str) -> None:
    """Checks that settings of this name can exist; no file is read.

    Raises:
        ConfigError: It is neither a preset nor the name of a TOML or JSON file.
    """
    if name_or_path not in PRESETS and Path(name_or_path).suffix not in FILE_SUFFIXES:
        raise ConfigError(
            f"--augmentation must be one of {', '.join(PRESETS)} or a {' or '.join(FILE_SUFFIXES)} "
            f"file, got {name_or_path!r}"
        )


def load_augmentation(name_or_path: str) -> AugmentationSettings:
    """Returns a preset, or the settings that a TOML or JSON file names; others are off.

    Raises:
        ConfigError: There is neither, or the file has an unknown field or a wrong value.
    """
    check_name(name_or_path)
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    return cli.from_file(AugmentationSettings, Path(name_or_path))
