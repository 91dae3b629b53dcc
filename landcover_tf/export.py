"""Entry of `landcover export`: a finished run becomes a model that TensorFlow Serving loads."""

import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from landcover_tf import cli, flag_ranges, locks
from landcover_tf.errors import ConfigError
from landcover_tf.export_listing import NO_SCORES
from landcover_tf.files import no_empty_folder
from landcover_tf.model_versions import next_version, require_new
from landcover_tf.provenance import software_versions
from landcover_tf.quiet import start_keras
from landcover_tf.run_folder import RunFolder

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
        from landcover_tf.export_listing import listing

        print(listing(config.list))
        return
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
        _export(config, run, model_folder)


def _export(config: ExportConfig, run: RunFolder, model_folder: Path) -> None:
    start_keras()
    from landcover_tf import exporting
    from landcover_tf.accuracy.calibration import at_limit
    from landcover_tf.evaluation.kept_scores import totals
    from landcover_tf.models.receptive_field import receptive_field
    from landcover_tf.training.trained import load_trained

    network, spec, dataset = load_trained(run)
    settings, summary = run.read_config(), run.read_summary()
    calibration = run.read_calibration(len(spec.class_codes), dataset.data_hash)
    if calibration.method != "none" and at_limit(calibration.scale):
        print(
            f"warning: the probabilities are calibrated with {calibration}, the limit of its "
            "range, because the validation split does not determine it; `landcover evaluate "
            "--calibration none` takes it out",
            file=sys.stderr,
        )
    version = config.version or next_version(model_folder)
    info = exporting.describe(
        spec,
        dataset,
        receptive_field(network),
        name=config.name,
        version=version,
        patch_size=settings["patch_size"],
        calibration=calibration,
        metrics={k: v for k, v in (summary.get("scores") or {}).items() if k not in NO_SCORES},
        test_scores=totals(scores) if (scores := run.read_scores("test")) else {},
        pretrained=_pretrained(summary, settings),
        weights_sha256=exporting.weights_hash(network),
        software=software_versions(),
    )
    data_dir = Path(settings["data_dir"]) if settings.get("data_dir") else None
    images = exporting.sample_images(dataset, data_dir, info.patch_size)
    check = exporting.write_export(
        network,
        info,
        model_folder / str(version),
        check_images=images.stored,
        formats=config.format,
        card=run.model_card.read_text(encoding="utf-8") if run.model_card.is_file() else "",
    )
    print(
        f"wrote {model_folder / str(version)}; on {images} ({check.pixels} pixels) it differs from "
        f"the Keras model by at most {check.max_probability_difference:.1e} in probability and in "
        f"{check.different_classes} classes"
    )
    if images.lacking and config.format:
        print(
            f"warning: {images.lacking}, so {', '.join(config.format)} were compared with the "
            "SavedModel on random images only; give the run its dataset back for a real check",
            file=sys.stderr,
        )
    cli.print_next(
        "predict",
        model_path=model_folder / str(version),
        input_image="PRODUCT.SAFE",
        output_map="map/map.tif",
    )


def _pretrained(
    summary: Mapping[str, Any], settings: Mapping[str, Any]
) -> Mapping[str, str] | None:
    """Returns what the encoder began with, as `ModelInfo.pretrained`."""
    if found := summary.get("pretrained"):
        # Of an own file, where it was is nobody's business.
        name = found["source"] if found["url"] else found["file"]
        return {"name": name} | {key: found[key] for key in ("url", "sha256", "license")}
    name = settings.get("encoder_weights", "none")
    if "pretrained" in summary or name == "none":
        return None
    # Runs of earlier versions do not tell more.
    return {"name": Path(name).name, "url": "", "sha256": "", "license": ""}


if __name__ == "__main__":
    sys.exit(main())
