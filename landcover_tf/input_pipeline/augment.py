"""The augmentations of a training batch, one after the other."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from landcover_tf.input_pipeline import geometric, mixing, radiometric
from landcover_tf.input_pipeline.augmentation_settings import PROBABILITIES, AugmentationSettings
from landcover_tf.input_pipeline.copy_paste import copy_paste


def augment(
    image: tf.Tensor,
    label: tf.Tensor,
    usable: tf.Tensor,
    key: tf.Tensor,
    settings: AugmentationSettings,
    *,
    band_names: Sequence[str],
    rare_classes: Sequence[int] = (),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an augmented batch; the same key gives the same batch.

    Args:
        image: Reflectance, float32 [batch, size, size, bands], 0 in all bands where there is no
            data and nowhere else.
        label: Dense classes, uint8 [batch, size, size].
        usable: False for pixels that show no ground, such as clouds, bool [batch, size, size].
        key: Random key, integer [2].
        settings: What to do.
        band_names: Names of the bands.
        rare_classes: Dense indices of the classes that copy-paste multiplies.
    """
    # Every augmentation has its own key, so switching one off leaves the others as they were.
    all_keys = tf.unstack(tf.random.split(key, len(PROBABILITIES)))
    keys = dict(zip(PROBABILITIES, all_keys, strict=True))
    image, label = _move(image, label, usable, keys, settings, rare_classes)
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
    usable: tf.Tensor,
    keys: dict[str, tf.Tensor],
    settings: AugmentationSettings,
    rare_classes: Sequence[int],
) -> tuple[tf.Tensor, tf.Tensor]:
    if settings.copy_paste and rare_classes:
        image, label = copy_paste(
            image,
            label,
            usable,
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
