"""The export of a finished run, with what its files tell of it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from landcover_tf.accuracy.calibration import at_limit
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.evaluation.kept_scores import totals
from landcover_tf.exporting import saved_model
from landcover_tf.model_info import ModelInfo
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.receptive_field import receptive_field
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.provenance import software_versions
from landcover_tf.training.trained import load_trained

NO_SCORES = ("train_loss", "learning_rate", "seconds", "patches_per_second", "input_wait_fraction")
"""What the row of an epoch tells of the training itself."""


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
    info = _contract(run, network, spec, dataset, name=model_folder.name, version=version)
    if info.calibration.method != "none" and at_limit(info.calibration.scale):
        print(
            f"warning: the probabilities are calibrated with {info.calibration}, the limit of its "
            "range, because the validation split does not determine it; `landcover evaluate "
            "--calibration none` takes it out",
            file=sys.stderr,
        )
    data_dir = Path(run.read_config()["data_dir"])
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


def _contract(
    run: RunFolder,
    network: keras.Model,
    spec: ModelSpec,
    dataset: DatasetInfo,
    *,
    name: str,
    version: int,
) -> ModelInfo:
    summary, scores = run.read_summary(), run.read_scores("test")
    field = receptive_field(network)
    fractions = dataset.splits["train"].class_fractions if "train" in dataset.splits else {}
    return ModelInfo(
        name=name,
        version=version,
        bands=dataset.bands,
        dtype=dataset.dtype,
        nodata=dataset.nodata,
        resolution_m=dataset.resolution_m,
        upsampling=dataset.upsampling,
        legend=dataset.legend,
        class_codes=spec.class_codes,
        patch_size=run.read_config()["patch_size"],
        size_multiple=field.stride_px,
        receptive_field_px=field.field_px,
        margin_px=field.margin_px,
        calibration=run.read_calibration(len(spec.class_codes), dataset.data_hash),
        encoder=spec.encoder,
        encoder_depth=spec.encoder_depth,
        normalizer=spec.normalizer.to_dict(),
        statistics=dataset.statistics.to_dict(),
        class_fractions={str(code): fraction for code, fraction in fractions.items()},
        metrics={k: v for k, v in summary["scores"].items() if k not in NO_SCORES},
        test_scores=totals(scores) if scores else {},
        pretrained=_pretrained(summary["pretrained"]),
        data_hash=dataset.data_hash,
        weights_sha256=saved_model.weights_hash(network),
        software=software_versions(),
    )


def _pretrained(found: Mapping[str, Any] | None) -> Mapping[str, str] | None:
    """Returns what the encoder began with, as `ModelInfo.pretrained`."""
    if found is None:
        return None
    # Of an own file, where it was is nobody's business.
    name = found["source"] if found["url"] else found["file"]
    return {"name": name} | {key: found[key] for key in ("url", "sha256", "license")}
