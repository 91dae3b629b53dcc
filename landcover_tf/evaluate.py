"""Entry of `landcover evaluate`: scores of a run on held-out patches, beside a baseline."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.configs.config_parts import part
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import require_writable
from landcover_tf.system.quiet import start_keras


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Scores a trained run on a split, beside gradient-boosted trees that see single pixels of
    the same training patches, and writes RUN_DIR/evaluation/SPLIT; for another dataset than that of
    the training SPLIT-DATASET-HASH, beside it."""

    run_dir: Path
    """Output folder of landcover train."""
    data_dir: Path | None = None
    """Dataset folder; by default where the run found it. Another dataset has scores of its own; the
    run's split did not hold its patches out."""
    split: str = "test"
    """Split to score."""
    batch_size: int = 4
    """Patches per step."""
    calibration: Literal["temperature", "vector", "none"] = "temperature"
    """Correction of the probabilities, fitted on the validation split and kept for the export: one
    temperature, or a factor and an offset per class, which can change the predicted class. With
    another --data-dir than the training's nothing is fitted: the kept one applies, or none."""
    tta: bool = False
    """Average the probabilities of eight flips and quarter turns, as `landcover predict --tta`
    does; eight times the work."""
    baseline: Literal["hist-gradient-boosting", "lightgbm", "none"] = "hist-gradient-boosting"
    """Per-pixel classifier to compare with."""
    baseline_context: int = 0
    """Add the mean and the standard deviation of each band in a window of this many pixels to the
    baseline's features, for example 5; 0 adds none."""
    baseline_pixels: int = 100_000
    """Training pixels of the baseline, about."""
    bootstrap_samples: int = 1000
    """Resamplings for the 95 % intervals."""
    pictures: int = 3
    """Patches drawn with their prediction."""
    seed: int = 0
    """Decides which pixels the baseline learns from and the resampling."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        flag_ranges.at_least(self, 1, "batch_size", "baseline_pixels", "bootstrap_samples")
        flag_ranges.within(self, 0, 2**32 - 1, "seed")  # What scikit-learn takes.
        context = self.baseline_context
        if context and (context < 3 or context % 2 == 0):
            raise ConfigError(
                f"--baseline-context must be 0 or an odd number above 1, got {context}"
            )


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(EvaluateConfig, _program, argv, prog="landcover evaluate")


def _program(config: EvaluateConfig) -> None:
    evaluate_model(config)
    cli.print_next("export", run_dir=config.run_dir, output_dir="export")


def evaluate_model(config: EvaluateConfig) -> Path:
    """Scores a run, prints the table, and returns the folder with scores.json, tables and pictures.

    Raises:
        LandCoverError: The run is unfinished, or the dataset is unfit or lacks the split.
    """
    run = RunFolder(config.run_dir)
    run.require_finished()
    folder = config.data_dir or Path(run.read_config()["data_dir"])
    info = DatasetInfo.load(folder)
    _require_split(info, config.split)
    output = run.evaluation(config.split, info)
    require_writable(output)

    # Trees synchronise their threads thousands of times a second; threads that spin while they
    # wait make that up to 18 times slower where other programs use the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    start_keras()
    from landcover_tf.evaluation.run import Settings, evaluate_run
    from landcover_tf.training.faults import explained

    baseline = None if config.baseline == "none" else config.baseline
    settings = part(Settings, config, baseline=baseline)
    splits = {config.split, "train", "val"}  # For the baseline and the calibration.
    with explained(folder, splits=splits, memory_advice="lower --batch-size"):
        text = evaluate_run(run, folder, settings)
    config_files.write_config(config, output / "config.json")
    print(f"{text}\n\nwrote {output}")
    return output


def _require_split(info: DatasetInfo, name: str) -> None:
    """Checks that there is something to score, while that takes no time.

    Raises:
        DatasetError: There is not; says what may be scored instead.
    """
    try:
        info.split(name)
    except DatasetError as error:
        if name == "val" or not ("val" in info.splits and info.splits["val"].records):
            raise
        raise DatasetError(
            f"{error}; score --split val, which is optimistic where it chose the epoch of the "
            "training, or build a dataset with a --test-fraction above 0"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
