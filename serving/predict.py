"""Predicts class maps: `python -m serving.predict`."""

import sys

from landcover_tf import cli
from serving.config import PredictConfig


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(PredictConfig, _program, argv, prog="landcover predict")


def _program(config: PredictConfig) -> None:
    from serving.many_scenes import predict_all

    predict_all(config)


if __name__ == "__main__":
    sys.exit(main())
