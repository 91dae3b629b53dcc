"""What is done to training batches, how often and how strongly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import tensorflow as tf

from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline import geometric, mixing, radiometric
from landcover_tf.input_pipeline.copy_paste import BLENDS, copy_paste

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
    """Probability of Gaussian noise."""
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
            if isinstance(value, int | float) and value < 0:
                raise ConfigError(f"{field.name} must not be negative, got {value}")
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
    *,
    band_names: Sequence[str],
    rare_classes: Sequence[int] = (),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an augmented batch; the same key gives the same batch.

    Args:
        image: Reflectance, float32 [batch, size, size, bands], 0 where there is no data.
        label: Dense classes, uint8 [batch, size, size].
        key: Random key, integer [2].
        settings: What to do.
        band_names: Names of the bands.
        rare_classes: Dense indices of the classes that copy-paste multiplies.
    """
    # Every augmentation has its own key, so switching one off leaves the others as they were.
    all_keys = tf.unstack(tf.random.split(key, len(PROBABILITIES)))
    keys = dict(zip(PROBABILITIES, all_keys, strict=True))
    image, label = _move(image, label, keys, settings, rare_classes)
    image = _relight(image, keys, settings, band_names)
    if settings.cutout:
        image, label = mixing.cutout(
            image,
            label,
            keys["cutout"],
            probability=settings.cutout,
            max_fraction=settings.cutout_fraction,
        )
    return image, label


def _move(
    image: tf.Tensor,
    label: tf.Tensor,
    keys: dict[str, tf.Tensor],
    settings: AugmentationSettings,
    rare_classes: Sequence[int],
) -> tuple[tf.Tensor, tf.Tensor]:
    if settings.copy_paste and rare_classes:
        image, label = copy_paste(
            image,
            label,
            keys["copy_paste"],
            probability=settings.copy_paste,
            classes=rare_classes,
            objects=settings.paste_objects,
            smallest_px=settings.paste_smallest_px,
            blend=settings.paste_blend,
        )
    if settings.cutmix:
        image, label = mixing.cutmix(
            image,
            label,
            keys["cutmix"],
            probability=settings.cutmix,
            max_fraction=settings.cutmix_fraction,
        )
    if settings.affine:
        image, label = geometric.scale_rotate_shift(
            image,
            label,
            keys["affine"],
            probability=settings.affine,
            max_scale=settings.max_scale,
            max_rotation_deg=settings.max_rotation_deg,
            max_shift=settings.max_shift,
        )
    if settings.flip or settings.turn:
        image, label = geometric.flip_and_turn(
            image, label, keys["flip"], keys["turn"], flip=settings.flip, turn=settings.turn
        )
    return image, label


def _relight(
    image: tf.Tensor,
    keys: dict[str, tf.Tensor],
    settings: AugmentationSettings,
    band_names: Sequence[str],
) -> tf.Tensor:
    """Returns the image after all changes of reflectance, in the order of their causes."""
    names = {"band_names": band_names}
    steps: tuple[tuple[str, Callable[..., tf.Tensor], dict], ...] = (
        (
            "jitter",
            radiometric.jitter,
            {"gain_std": settings.gain_std, "offset_std": settings.offset_std},
        ),
        ("haze", radiometric.haze, {"max_haze": settings.max_haze} | names),
        (
            "cloud_shadow",
            radiometric.cloud_shadow,
            {"max_darkening": settings.max_darkening} | names,
        ),
        ("noise", radiometric.noise, {"std": settings.noise_std}),
        ("band_drop", radiometric.drop_bands, {"fraction": settings.band_drop_fraction}),
    )
    wanted = [step for step in steps if getattr(settings, step[0])]
    changed = image
    for name, operation, strengths in wanted:
        probability = getattr(settings, name)
        changed = operation(changed, keys[name], probability=probability, **strengths)
    return radiometric.keep_nodata(image, changed) if wanted else image
