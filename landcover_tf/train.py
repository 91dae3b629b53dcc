"""Entry of `landcover train`: shards become a run folder with a trained U-Net."""

import sys

from landcover_tf.configs import cli
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.quiet import start_keras
from landcover_tf.training.config import TrainConfig

__all__ = ["TrainConfig", "main", "train_model"]


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code: 143 when it was asked to stop, state saved."""
    return cli.run(TrainConfig, _program, argv, prog="landcover train")


def _program(config: TrainConfig) -> int:
    # Cheap mistakes are told before TensorFlow takes its seconds to load.
    from landcover_tf.models import pretrained
    from landcover_tf.system.files import no_empty_folder
    from landcover_tf.training.preflight import check, tell_finished

    found = check(config)
    if found.finished:
        tell_finished(found.run)
        return 0
    with no_empty_folder(found.run.path):
        if not found.run.state.is_file() and config.encoder_weights in pretrained.SOURCES:
            pretrained.fetch(pretrained.find(config.encoder_weights, config.model))
        start_keras()
        from landcover_tf.training.startup import train

        return train(config)


def train_model(config: TrainConfig) -> RunFolder:
    """Trains, or continues the run that the folder holds, and returns the run.

    It is not finished where the training was asked to stop, as by Ctrl-C; call again to go on.

    Raises:
        LandCoverError: The input, the settings or the machine do not allow it.
    """
    _program(config)
    return RunFolder(config.output_dir)


if __name__ == "__main__":
    sys.exit(main())
