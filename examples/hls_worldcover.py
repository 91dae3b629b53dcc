"""Real data: 7-band HLS chips with ESA WorldCover labels, split by group.

    python -m examples.hls_worldcover --source-dir DIR --output-dir hls --folds 0 1 2 3 4

The folder, which is not in the repository, holds `images/N.tif` (int16 reflectance * 10000 in 7
bands, 128 x 128 pixels, no CRS) and `labels.npz` with `ids` [n], `worldcover` [n, 128, 128] (codes)
and `group` [n]. Chips overlap within a group, so whole groups are held out. Prints
the U-Net's scores beside gradient-boosted trees with 5 x 5 context features, and after several
folds the mean and standard deviation of both.
"""

import argparse
import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from examples.programs import ProgramError, run

BANDS = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
FOLDS = 5
LEGEND = Path(__file__).with_suffix(".toml")


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when every program succeeded, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[0], help="of 0..4")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--model", default="resnet18")
    arguments = parser.parse_args(argv)
    try:
        found = [_fold(arguments, fold) for fold in arguments.folds]
    except ProgramError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    if len(found) > 1:
        _print_summary(found)
    return 0


def _fold(arguments: argparse.Namespace, fold: int) -> dict[str, tuple[float, float]]:
    """Returns overall accuracy and mean IoU of both classifiers."""
    out = arguments.output_dir / f"fold{fold}"
    pairs = write_pairs(arguments.source_dir, out / "pairs", fold)
    run("tfrecords_builder", "--data-dir", pairs, "--output-dir", out / "dataset",
        "--patch-size", 128, "--patch-overlap", 0, "--split", "given",
        "--bands", *BANDS, "--band-indexes", *range(1, 8), "--scale", 1e-4,
        "--legend", LEGEND, "--unknown-labels", "ignore",
        "--normalizer", "log")  # fmt: skip
    # The chips are few and each is of one place and day, so a batch must mix many of them: 32
    # crops of 32 px do far better than 8 of 64 px, which are as many pixels, and crops that overlap
    # show more surroundings of each pixel. The encoder's deep stages learn the few places by heart.
    # Class weights and more augmentation cost accuracy; logarithms and local statistics bring most.
    run("landcover_tf.train", "--data-dir", out / "dataset", "--output-dir", out / "run",
        "--model", arguments.model, "--encoder-weights", "none", "--encoder-depth", 2,
        "--skip-connections", 5, "--decoder-filters", 8, 8, 8, 8, 32,
        "--patch-size", 32, "--patch-overlap", 16,
        "--batch-size", 32, "--epochs", arguments.epochs, "--lr", 3e-3,
        "--class-weights", "none", "--ce-weight", 1, "--dice-weight", 0.25,
        "--augmentation", "light", "--local-statistics", 5, 11,
        "--ema-decay", 0.98)  # fmt: skip
    run("landcover_tf.evaluate", "--run-dir", out / "run", "--baseline", "lightgbm",
        "--baseline-context", 5, "--tta")  # fmt: skip
    scores = json.loads((out / "run" / "evaluation" / "test" / "scores.json").read_text())
    return {
        name: (scores[name]["overall_accuracy"], scores[name]["macro"]["iou"])
        for name in ("unet", "baseline")
    }


def _print_summary(folds: list[dict[str, tuple[float, float]]]) -> None:
    print(f"\n{len(folds)} folds, mean and standard deviation")
    for name in folds[0]:
        means = np.mean([fold[name] for fold in folds], axis=0)
        spread = np.std([fold[name] for fold in folds], axis=0)
        print(
            f"{name:10} overall accuracy {means[0]:.3f} +- {spread[0]:.3f}  "
            f"mean IoU {means[1]:.3f} +- {spread[1]:.3f}"
        )


def write_pairs(source: Path, target: Path, fold: int) -> Path:
    """Writes label rasters and `pairs.csv`; returns the folder.

    Args:
        source: The folder with `images/N.tif` and `labels.npz`.
        target: Where the label rasters go.
        fold: This fold's groups are the test split, the next fold's the validation split.
    """
    labels = np.load(source / "labels.npz")
    (target / "labels").mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # The chips have no position.
    groups = labels["group"].copy()
    # Chips 104 and 163, and 87 and 212, share five rows of pixels although their groups differ.
    groups[groups == 41] = 12
    folds = assign_folds(groups)
    rows = []
    for number, codes, group in zip(labels["ids"], labels["worldcover"], groups, strict=True):
        path = target / "labels" / f"{number}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=128, height=128, count=1, dtype="uint8"
        ) as raster:
            raster.write(codes.astype(np.uint8), 1)
        part = {fold: "test", (fold + 1) % FOLDS: "val"}.get(folds[int(group)], "train")
        image = (source / "images" / f"{number}.tif").resolve()
        rows.append((image, path.resolve(), int(group), part))
    with (target / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label", "group", "split"))
        writer.writerows(rows)
    return target


def assign_folds(groups: np.ndarray) -> dict[int, int]:
    """Returns the fold of each group: the largest group first, each to the smallest fold so far."""
    numbers, counts = np.unique(groups, return_counts=True)
    sizes = [0] * FOLDS
    folds = {}
    for count, number in sorted(zip(-counts, numbers, strict=True)):
        fold = sizes.index(min(sizes))
        folds[int(number)] = fold
        sizes[fold] -= int(count)
    return folds


if __name__ == "__main__":
    sys.exit(main())
