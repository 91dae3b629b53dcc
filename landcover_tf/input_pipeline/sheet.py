"""A picture of every augmentation: `landcover sheet`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_tf.configs import cli
from landcover_tf.errors import ConfigError
from landcover_tf.system.files import require_new
from landcover_tf.system.quiet import settle_onednn, start_tensorflow

if TYPE_CHECKING:
    import numpy as np

    from landcover_tf.datasets.dataset_info import DatasetInfo
    from landcover_tf.input_pipeline.augmentation_settings import AugmentationSettings

# Patches in the augmented batch: the one that is drawn and donors for CutMix and copy-paste.
BATCH = 6
# Draws from which the first is taken that shows: objects may find no place, a turn may be none.
DRAWS = 20
# Share of the values of a patch that an augmentation changes where it shows.
SEEN_FRACTION = 0.002


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """Draw one training patch under every augmentation, each done for certain."""

    data_dir: Path
    """Dataset: the output folder of `landcover build`."""
    output: Path = Path("sheet.png")
    """PNG to write."""
    split: str = "train"
    """Split that the patch is taken from."""
    seed: int = 0
    """Another seed draws other augmentations."""
    overwrite: bool = False
    """Replace a picture that is there."""

    def __post_init__(self) -> None:
        if self.output.suffix != ".png":
            raise ConfigError(f"--output must end in .png, got {self.output}")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    return cli.run(SheetConfig, _program, argv, prog="landcover sheet")


def _program(config: SheetConfig) -> None:
    from landcover_tf.datasets.dataset_info import DatasetInfo

    info = DatasetInfo.load(config.data_dir)
    info.verify(config.data_dir, checksums=False)
    info.split(config.split)
    require_new([config.output], overwrite=config.overwrite)
    start_tensorflow()
    settle_onednn()
    draw(info, config)
    print(config.output)


def draw(info: "DatasetInfo", config: SheetConfig) -> None:
    """Writes the sheet."""
    from landcover_tf.visuals.figures import save_panels
    from landcover_tf.visuals.pictures import class_picture, composite

    versions = every_version(info, *_varied_batch(info, config), seed=config.seed)
    limits = info.usual_range
    panels = []
    for name, image, label in versions:
        has_data = (image != 0).any(axis=-1)
        picture = composite(image, info.band_names, valid=has_data, limits=limits)
        codes = info.legend.code_of_index[label]
        panels += [(name, picture), ("its label", class_picture(codes, info.legend))]
    save_panels(
        config.output,
        panels,
        legend=info.legend,
        columns=8,
        title=f"{info.name}, split {config.split}: every augmentation of one patch",
        panel_inches=2.2,
    )


def every_setting() -> "list[tuple[str, AugmentationSettings]]":
    """Returns (name, settings) of each augmentation alone and of the presets."""
    from landcover_tf.input_pipeline.augmentation_settings import (
        BLENDS,
        PRESETS,
        PROBABILITIES,
        AugmentationSettings,
    )

    strong = {"max_haze": 0.6, "max_darkening": 0.7, "noise_std": 0.05, "band_drop_fraction": 0.4}
    alone = [
        (name.replace("_", " "), AugmentationSettings(**({name: 1.0} | strong)))
        for name in PROBABILITIES
        if name != "copy_paste"
    ]
    pasted = [
        (
            f"copy-paste, {blend}",
            AugmentationSettings(copy_paste=1.0, paste_blend=blend, paste_smallest_px=60),
        )
        for blend in BLENDS
    ]
    presets = [(f"preset {name}", settings) for name, settings in PRESETS.items()]
    return [("original", PRESETS["none"]), *alone, *pasted, *presets[1:]]


def every_version(
    info: "DatasetInfo",
    images: "np.ndarray",
    labels: "np.ndarray",
    usable: "np.ndarray",
    *,
    seed: int,
) -> "list[tuple[str, np.ndarray, np.ndarray]]":
    """Returns (name, image, label) of the batch's first patch under every augmentation."""
    from landcover_tf.visuals.pictures import composite

    (original, _), *settings_of = every_setting()
    versions = [(original, images[0], labels[0])]
    # The blends of copy-paste share their draws, so that they can be compared.
    kinds = list(dict.fromkeys(name.partition(",")[0] for name, _ in settings_of))
    for name, settings in settings_of:
        for draw in range(DRAWS):
            key = [seed, DRAWS * kinds.index(name.partition(",")[0]) + draw]
            image, label = _augmented(info, images, labels, usable, key, settings)
            changed = (image != images[0]).mean()
            # Where all bands of the picture are lost, there is nothing to see either.
            if changed > SEEN_FRACTION and composite(image, info.band_names).any():
                break
        versions.append((name, image, label))
    return versions


def _augmented(
    info: "DatasetInfo",
    images: "np.ndarray",
    labels: "np.ndarray",
    usable: "np.ndarray",
    key: list[int],
    settings: "AugmentationSettings",
) -> "tuple[np.ndarray, np.ndarray]":
    """Returns the first patch of an augmented batch."""
    import numpy as np
    import tensorflow as tf

    from landcover_tf.input_pipeline.augment import augment
    from landcover_tf.legend import IGNORED

    # All but the commonest class of these few patches, so that there are objects to paste.
    present, counts = np.unique(labels[labels != IGNORED], return_counts=True)
    rare = present[np.argsort(counts)][:-1]
    image, label = augment(
        tf.constant(images),
        tf.constant(labels),
        tf.constant(usable),
        tf.constant(key, tf.int64),
        settings,
        band_names=info.band_names,
        rare_classes=rare.tolist(),
    )
    return image[0].numpy(), label[0].numpy()


def _varied_batch(
    info: "DatasetInfo", config: SheetConfig
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Returns image, label and usable pixels of patches, those of the split with the most classes.

    The one with the most comes first.
    """
    import numpy as np

    from landcover_tf.datasets.patch_index import split_index
    from landcover_tf.input_pipeline.dataset import evaluation_dataset

    entries = split_index(config.data_dir, config.split, info.split(config.split).shards)
    # Classes first; among equals the patch with less no data.
    variety = [len(entry.class_pixels) + entry.valid_fraction for entry in entries]
    best = np.argsort(variety)[::-1][:BATCH]
    batch = evaluation_dataset(
        info,
        config.data_dir,
        config.split,
        batch_size=BATCH,
        only=np.sort(best),
        with_usable=True,
    )
    images, labels, usable = next(batch.as_numpy_iterator())
    order = np.searchsorted(np.sort(best), best)
    return images[order], labels[order], usable[order]


if __name__ == "__main__":
    sys.exit(main())
