"""The whole chain on simulated products: what `make demo` runs.

Its scores say nothing about Earth: landscape, spectra and labels are simulated.
"""

import argparse
import sys
import time
from pathlib import Path

from examples.programs import ProgramError, listing, run
from landcover_tf.datasets.patch_index import read_index

SIZE_PX = 1098
LAST_FILES = {
    "landcover_tf.simulate": "input/simulate.json",
    "tfrecords_builder": "dataset/dataset.json",
    "landcover_tf.export": "export/landcover/1/model.json",
    "serving.predict": "map/predict.json",
}
"""What each program that refuses to run twice writes when it has finished."""


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when every program succeeded, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args(argv)
    out = arguments.output_dir
    start = time.monotonic()
    try:
        _chain(out, arguments.epochs)
    except ProgramError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    run_dir = out / "run"
    print(f"\nThe whole chain took {(time.monotonic() - start) / 60:.1f} minutes.")
    print(
        listing(
            "Look at:",
            {
                "map (COG)": out / "map" / "map.tif",
                "picture": out / "map" / "map.png",
                "scores": run_dir / "evaluation" / "test" / "scores.json",
                "learning curves": run_dir / "learning_curves.png",
                "TensorBoard": Path(f"tensorboard --logdir {run_dir / 'tensorboard'}"),
            },
        )
    )
    return 0


def step(out: Path, module: str, *arguments: object) -> None:
    """Runs a program unless an earlier call of the demo has finished it.

    The others go on, or begin anew, when they are run again; these refuse what they have made.

    Raises:
        ProgramError: As `run`.
    """
    if (out / LAST_FILES[module]).is_file():
        print(f"[{module}: done before]", flush=True)
    else:
        run(module, *arguments)


def _chain(out: Path, epochs: int) -> None:
    step(out, "landcover_tf.simulate", "--output-dir", out / "input", "--products", 5,
        "--size-px", SIZE_PX, "--seed", 1)  # fmt: skip
    run("landcover_tf.prepare", "--sentinel2-dir", out / "input" / "products",
        "--ground-truth", out / "input" / "ground_truth", "--output-dir", out / "scenes",
        "--jobs", 2)  # fmt: skip
    # Whole scenes are held out: three to train on, one to choose the best epoch, one to test.
    step(out, "tfrecords_builder", "--data-dir", out / "scenes", "--output-dir", out / "dataset",
        "--resume" if (out / "dataset").exists() else "--no-resume",
        "--patch-size", 256, "--patch-overlap", 96, "--split", "scenes",
        "--val-fraction", 0.2, "--test-fraction", 0.2)  # fmt: skip
    # From random weights many small cuts in a batch and averaged weights do far better than 8 of
    # 128 px, which are as many pixels.
    run("landcover_tf.train", "--data-dir", out / "dataset", "--output-dir", out / "run",
        "--model", "resnet18", "--encoder-weights", "none", "--skip-connections", 5,
        "--decoder-filters", 128, 64, 32, 32, 32, "--patch-size", 64, "--patch-overlap", 0,
        "--batch-size", 32, "--epochs", epochs, "--lr", 2e-3, "--ema-decay", 0.98,
        "--augmentation", "light")  # fmt: skip
    run("landcover_tf.evaluate", "--run-dir", out / "run")
    step(out, "landcover_tf.export", "--run-dir", out / "run", "--output-dir", out / "export")
    held_out = out / "scenes" / read_index(out / "dataset", "test")[0].product
    step(out, "serving.predict", "--model-path", out / "export", "--input-image", held_out,
        "--reference-map", held_out / "labels.tif",
        "--output-map", out / "map" / "map.tif")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
