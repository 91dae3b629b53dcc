"""What is done to training batches, how often and how strongly."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline import geometric


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

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name)}")


PROBABILITIES = ("flip", "turn", "affine")

PRESETS = {
    "none": AugmentationSettings(),
    "light": AugmentationSettings(flip=0.5, turn=0.75),
    "standard": AugmentationSettings(flip=0.5, turn=0.75, affine=0.3),
    "strong": AugmentationSettings(flip=0.5, turn=0.75, affine=0.6, max_rotation_deg=45.0),
}


def preset(name: str) -> AugmentationSettings:
    """Returns the settings of that name.

    Raises:
        ConfigError: There is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"augmentation must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def augment(
    image: tf.Tensor,
    label: tf.Tensor,
    key: tf.Tensor,
    settings: AugmentationSettings,
    band_names: Sequence[str],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an augmented batch; the same key gives the same batch.

    Args:
        image: Reflectance, float32 [batch, size, size, bands], 0 where there is no data.
        label: Dense classes, uint8 [batch, size, size].
        key: Random key, integer [2].
        settings: What to do.
        band_names: Names of the bands.
    """
    keys = iter(tf.unstack(tf.random.split(key, len(PROBABILITIES))))
    if settings.affine:
        image, label = geometric.scale_rotate_shift(
            image,
            label,
            next(keys),
            probability=settings.affine,
            max_scale=settings.max_scale,
            max_rotation_deg=settings.max_rotation_deg,
            max_shift=settings.max_shift,
        )
    if settings.flip:
        image, label = geometric.flip(image, label, next(keys), probability=settings.flip)
    if settings.turn:
        image, label = geometric.turn(image, label, next(keys), probability=settings.turn)
    return image, label
