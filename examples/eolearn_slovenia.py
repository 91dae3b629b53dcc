"""Real data: 13-band Level-1C reflectance of one square kilometre in Slovenia, with land use.

    python -m examples.eolearn_slovenia --source-dir DIR --output-dir slovenia

The data is eo-learn's (github.com/sentinel-hub/eo-learn, MIT, `example_data`): `DIR` holds
`REFERENCE_SCENES.npy` and the test patch's `mask_timeless_LULC.npy`.

Three clear dates of the same 101 x 100 pixels. The western half is for training (its northern
part) and for choosing the epoch (its southern part), the eastern half for the test; the gaps
between them are 3 to 5 pixels. Prints the U-Net's scores beside a per-pixel baseline. This is far
too little land to say how well a model does; it shows that a small real dataset goes through.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from examples.programs import ProgramError, run
from landcover_tf.bands import BAND_NAMES

CLEAR_DATES = (2, 3, 4)
PARTS = {
    "train": (slice(0, 64), slice(0, 50)),
    "val": (slice(69, 101), slice(0, 50)),
    "test": (slice(0, 101), slice(53, 100)),
}
CODES = {0: 0, 1: 10, 2: 20, 3: 30, 4: 80, 8: 40}
"""Land-use number of the source (none, cultivated, forest, grassland, shrubland, artificial) to
code of landcover9."""
WEST, NORTH, PIXEL_M = 465181.05, 5080254.63, 10.0


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when every program succeeded, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args(argv)
    try:
        _chain(arguments.source_dir, arguments.output_dir, arguments.epochs)
    except ProgramError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


def _chain(source: Path, out: Path, epochs: int) -> None:
    pairs = write_pairs(source, out / "pairs")
    run("tfrecords_builder", "--data-dir", pairs, "--output-dir", out / "dataset",
        "--patch-size", 32, "--patch-overlap", 16, "--split", "given", "--gap-px", 3,
        "--normalizer", "log")  # fmt: skip
    # Little passes from the deep levels, which would learn this one place by heart; the last
    # level, which sees the image and its local statistics, is wide.
    run("landcover_tf.train", "--data-dir", out / "dataset", "--output-dir", out / "run",
        "--model", "resnet18", "--encoder-weights", "none", "--skip-connections", 5,
        "--decoder-filters", 8, 8, 8, 8, 64, "--local-statistics", 5, 11,
        "--patch-size", 32, "--batch-size", 9, "--epochs", epochs, "--lr", 2e-3,
        "--class-weights", "none", "--ce-weight", 1, "--dice-weight", 0.25,
        "--augmentation", "light", "--ema-decay", 0.98,
        "--monitor", "overall_accuracy")  # fmt: skip
    run("landcover_tf.evaluate", "--run-dir", out / "run", "--tta")


def write_pairs(source: Path, target: Path) -> Path:
    """Writes an image and a label raster per date and part, and `pairs.csv`; returns the folder."""
    scenes = np.load(source / "REFERENCE_SCENES.npy")
    land_use = np.load(source / "mask_timeless_LULC.npy")[..., 0]
    labels = np.zeros(land_use.shape, np.uint8)
    for number, code in CODES.items():
        labels[land_use == number] = code
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for part, (part_rows, part_cols) in PARTS.items():
        corner = (WEST + part_cols.start * PIXEL_M, NORTH - part_rows.start * PIXEL_M)
        label = target / f"{part}_label.tif"
        _write(label, labels[None, part_rows, part_cols], corner, ())
        for date in CLEAR_DATES:
            image = target / f"{part}_{date}.tif"
            bands = np.moveaxis(scenes[date, part_rows, part_cols], -1, 0)
            _write(image, bands, corner, BAND_NAMES)
            rows.append((image.resolve(), label.resolve(), part))
    with (target / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label", "split"))
        writer.writerows(rows)
    return target


def _write(path: Path, bands: np.ndarray, corner: tuple[float, float], names: tuple) -> None:
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=bands.dtype,
        crs="EPSG:32633", transform=from_origin(*corner, PIXEL_M, PIXEL_M),
    ) as raster:  # fmt: skip
        raster.write(bands)
        for index, name in enumerate(names, start=1):
            raster.set_band_description(index, name)


if __name__ == "__main__":
    sys.exit(main())
