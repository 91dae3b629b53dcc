"""The export of a finished run, with what its files tell of it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_tf.accuracy.calibration import at_limit
from landcover_tf.evaluation.kept_scores import totals
from landcover_tf.exporting import saved_model
from landcover_tf.exporting.export_listing import NO_SCORES
from landcover_tf.models.receptive_field import receptive_field
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.provenance import software_versions
from landcover_tf.training.trained import load_trained


def export_run(
    run: RunFolder, model_folder: Path, *, version: int, formats: Sequence[str] = ()
) -> Path:
    """Writes the version folder of a run's network, prints how exactly it answers, and returns it.

    Args:
        run: A finished run.
        model_folder: `.../<name>`; clients call the model by that name.
        version: A number that the folder never held.
        formats: Further formats, keys of `model_formats.WRITERS`.

    Raises:
        RunError: The weights do not fit the run's specification.
        ModelError: A written model answers differently from the Keras model.
        OutputError: The folder exists or cannot be written.
    """
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
    info = saved_model.describe(
        spec,
        dataset,
        receptive_field(network),
        name=model_folder.name,
        version=version,
        patch_size=settings["patch_size"],
        calibration=calibration,
        metrics={k: v for k, v in (summary.get("scores") or {}).items() if k not in NO_SCORES},
        test_scores=totals(scores) if (scores := run.read_scores("test")) else {},
        pretrained=_pretrained(summary, settings),
        weights_sha256=saved_model.weights_hash(network),
        software=software_versions(),
    )
    data_dir = Path(settings["data_dir"]) if settings.get("data_dir") else None
    images = saved_model.sample_images(dataset, data_dir, info.patch_size)
    folder = model_folder / str(version)
    check = saved_model.write_export(
        network,
        info,
        folder,
        check_images=images.stored,
        formats=formats,
        card=run.model_card.read_text(encoding="utf-8") if run.model_card.is_file() else "",
    )
    print(
        f"wrote {folder}; on {images} ({check.pixels} pixels) it differs from the Keras model by "
        f"at most {check.max_probability_difference:.1e} in probability and in "
        f"{check.different_classes} classes"
    )
    if images.lacking and formats:
        print(
            f"warning: {images.lacking}, so {', '.join(formats)} were compared with the "
            "SavedModel on random images only; give the run its dataset back for a real check",
            file=sys.stderr,
        )
    return folder


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
