"""What is said of a training before it begins that may not be what was meant."""

from collections import defaultdict

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.normalizer import MOST_OUTSIDE, REFLECTANCE_RANGE, outside_reflectance
from landcover_tf.input_pipeline.augmentation_settings import OF_REFLECTANCE, AugmentationSettings
from landcover_tf.loss_settings import LOSS_KINDS
from landcover_tf.training.config import TrainConfig

FEW_STEPS = 500
"""Optimizer steps below which a training is doubted. On 14 simulated patches, 50 steps of 8 patches
had a mean IoU of 0.53 and 350 of 2, as long, 0.72."""


def doubts(
    config: TrainConfig,
    info: DatasetInfo,
    augmentation: AugmentationSettings,
    *,
    patches: int,
    steps: int,
) -> list[str]:
    """Returns all warnings of a training whose epoch has so many patches and optimizer steps."""
    single = (
        augmentation_doubt(info, augmentation),
        loss_doubt(config),
        unfreezing_doubt(config),
        steps_doubt(config, patches=patches, steps=steps),
    )
    return [doubt for doubt in single if doubt is not None] + class_doubts(info)


def class_doubts(info: DatasetInfo) -> list[str]:
    """Returns warnings of classes that the splits for training and for scoring do not share."""
    present = {
        name: {c.name for c in info.legend.classes if split.class_pixels.get(c.code)}
        for name, split in info.splits.items()
        if split.records
    }
    unseen, unscored = defaultdict(list), defaultdict(list)
    for name in info.legend.names:
        having = [split for split, names in present.items() if name in names and split != "train"]
        lacking = [split for split in present if split != "train" and split not in having]
        if name not in present["train"] and having:
            unseen[", ".join(having)].append(name)
        elif name in present["train"] and lacking:
            unscored[", ".join(lacking)].append(name)
    told = [
        f"no pixel of {', '.join(names)} is in train, but some are in {splits}: the network cannot "
        "learn that, and the scores there count it with an IoU of 0"
        for splits, names in unseen.items()
    ]
    return told + [
        f"no pixel of {', '.join(names)} is in {splits}, but some are in train: the scores there "
        "say nothing of it"
        for splits, names in unscored.items()
    ]


def steps_doubt(config: TrainConfig, *, patches: int, steps: int) -> str | None:
    """Returns a warning where a training has few steps, as a network needs them, not epochs.

    Args:
        config: Settings of the training.
        patches: Number of patches in an epoch.
        steps: Optimizer steps of an epoch.
    """
    total = config.epochs * steps
    if total >= FEW_STEPS:
        return None
    used = steps * config.gradient_accumulation * config.batch_size
    left = f", each without {patches - used} of {patches} patches" if used < patches else ""
    lower = " or --gradient-accumulation" if config.gradient_accumulation > 1 else ""
    return (
        f"the training has {total} optimizer steps in all ({config.epochs} epochs of {steps}"
        f"{left}), and fewer than about {FEW_STEPS} seldom suffice; lower --batch-size{lower}, or "
        "raise --epochs"
    )


def augmentation_doubt(info: DatasetInfo, augmentation: AugmentationSettings) -> str | None:
    """Returns a warning where the augmentation is meant for reflectance and the data are none."""
    named = [name for name in OF_REFLECTANCE if getattr(augmentation, name)]
    outside = outside_reflectance(info.statistics, info.scale, info.offset)
    if not named or outside.max() <= MOST_OUTSIDE * info.statistics.count:
        return None
    band, (low, high) = int(outside.argmax()), REFLECTANCE_RANGE
    return (
        f"{', '.join(named)} of the augmentation are meant for reflectance, and "
        f"{outside[band] / info.statistics.count:.0%} of band {info.band_names[band]} are below "
        f"{low:g} or above {high:g}: haze then darkens, and noise and the offsets of jitter are "
        "nothing; give --augmentation light, or build the dataset with a --scale"
    )


def unfreezing_doubt(config: TrainConfig) -> str | None:
    """Returns a warning where some stages of the encoder are never freed."""
    freed, stages = config.trainable_stages(config.epochs - 1), config.encoder_depth
    if not config.unfreeze_every or freed == stages:
        return None
    kept = "pretrained" if config.pretrained else "random"
    return (
        f"--unfreeze-every {config.unfreeze_every} frees {freed} of {stages} stages of the encoder "
        f"in {config.epochs} epochs, and the weights of the others stay {kept}; lower it, or raise "
        "--epochs"
    )


def loss_doubt(config: TrainConfig) -> str | None:
    """Returns a warning where settings of a pixel term are given to a loss without one.

    They are no mistake of a search over several losses, which gives the same to all.
    """
    acting = {
        "--class-weights": config.class_weights not in ("auto", "none"),
        "--boundary-weight": config.boundary_weight > 0,
        "--label-smoothing": config.label_smoothing > 0,
    }
    idle = [flag for flag, given in acting.items() if given]
    if config.pixel_term or not idle:
        return None
    zero = " --ce-weight 0" if LOSS_KINDS[config.loss][0] else ""
    having = ", ".join(kind for kind, (term, _) in LOSS_KINDS.items() if term)
    return (
        f"the training is the same without {', '.join(idle)}, for --loss {config.loss}{zero} has "
        f"no term per pixel; the losses {having} have one"
    )
