"""Entry of `landcover export`: a finished run becomes a model that TensorFlow Serving loads."""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.errors import ConfigError
from landcover_tf.exporting.model_versions import next_version, require_new
from landcover_tf.run_folder import RunFolder
from landcover_tf.system import locks
from landcover_tf.system.files import no_empty_folder
from landcover_tf.system.quiet import start_keras

PACKAGES = {"onnx": ("tf2onnx", "onnxruntime"), "openvino": ("openvino",)}
"""What a format needs beside TensorFlow."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Writes OUTPUT_DIR/NAME/VERSION, a SavedModel with model.json, from a finished run."""

    run_dir: Path | None = None
    """Output folder of landcover train."""
    output_dir: Path | None = None
    """Model folder; a server is pointed at OUTPUT_DIR/NAME and loads the highest version."""
    name: str = "landcover"
    """Model name, as clients will call it."""
    version: int | None = None
    """Version number, above the highest that OUTPUT_DIR/NAME ever held, also where that was
    withdrawn; the default is the next."""
    format: tuple[Literal["onnx", "openvino", "tflite"], ...] = ()
    """Further formats, written into subfolders of the version; each is compared with the
    SavedModel before the export is called done, on patches of the dataset where it is still in
    its place. onnx and openvino need the extra of that name."""
    list: Path | None = None
    """Only show what the export in this folder contains."""

    def __post_init__(self) -> None:
        if self.list is None and (self.run_dir is None or self.output_dir is None):
            raise ConfigError("expected --run-dir and --output-dir, or --list EXPORT")
        flag_ranges.at_least(self, 1, "version")
        # It is part of the server's URLs and of a path.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ConfigError(
                "--name must consist of letters, digits, '_', '-' and '.' and begin with a letter "
                f"or digit, got {self.name!r}"
            )


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(ExportConfig, _program, argv, prog="landcover export")


def _program(config: ExportConfig) -> None:
    if config.list is not None:
        from landcover_tf.exporting.export_listing import listing

        print(listing(config.list))
        return
    cli.print_next(
        "predict",
        model_path=export_model(config),
        input_image="PRODUCT.SAFE",
        output_map="map/map.tif",
    )


def export_model(config: ExportConfig) -> Path:
    """Writes the version folder of a finished run and returns it.

    Raises:
        LandCoverError: The run is unfinished, the version was there before, a format lacks its
            packages, or the written model answers differently from the trained one.
    """
    if config.run_dir is None or config.output_dir is None:
        raise ConfigError("expected --run-dir and --output-dir")

    # What is wrong is told at once, before TensorFlow is imported.
    for name in config.format:
        missing = [one for one in PACKAGES.get(name, ()) if importlib.util.find_spec(one) is None]
        if missing:
            raise ConfigError(
                f"--format {name} needs {' and '.join(missing)}; install landcover-tf[{name}]"
            )
    run = RunFolder(config.run_dir)
    run.require_finished()
    model_folder = config.output_dir / config.name
    busy = (
        f"another process exports into {model_folder}; wait for its end, or choose another --name"
    )
    with (
        no_empty_folder(config.output_dir),
        no_empty_folder(model_folder),
        locks.alone(model_folder / ".lock", busy),
    ):
        if config.version is not None:
            require_new(model_folder, config.version)
        start_keras()
        from landcover_tf.exporting.run_export import export_run

        version = config.version or next_version(model_folder)
        return export_run(run, model_folder, version=version, formats=config.format)


if __name__ == "__main__":
    sys.exit(main())
