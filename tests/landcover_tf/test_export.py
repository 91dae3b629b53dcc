"""The program `export`: from a run folder to a version folder, or a sentence."""

import contextlib
import importlib.util
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from fakes.small_dataset import dataset_info

from landcover_tf import export
from landcover_tf.bands import BAND_NAMES
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_shards import SplitInfo
from landcover_tf.exporting.model_versions import next_version
from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration, ModelInfo
from landcover_tf.model_spec import ModelSpec
from landcover_tf.run_folder import RunFolder
from landcover_tf.system.files import sha256_of, write_json
from landcover_tf.system.locks import alone
from landcover_tf.upsampling import Upsampling

LEGEND = load_legend("landcover9")
SCALE = tuple(np.linspace(0.4, 1.6, len(LEGEND.codes)).tolist())
BIAS = tuple(np.linspace(0.5, -0.5, len(LEGEND.codes)).tolist())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder with random weights, as train leaves it."""
    import keras

    from landcover_tf.models.unet import build_unet

    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(1000, 6000, (500, 13)).astype(np.uint16)
    dataset = dataset_info(
        BandStatistics.from_pixels(pixels, BAND_NAMES),
        {"train": SplitInfo(shards=(), class_pixels={10: 300, 20: 100})},
        legend=LEGEND,
        upsampling=Upsampling(sharpening="glp"),
    )
    dataset.save(folder)
    spec = ModelSpec(
        encoder="resnet18",
        band_names=BAND_NAMES,
        class_codes=LEGEND.codes,
        normalizer=dataset.normalizer,
        decoder_filters=(16, 16, 16, 8, 8),
    )
    spec.save(folder / "model_spec.json")
    keras.utils.set_random_seed(3)
    network = build_unet(spec)
    network.save_weights(folder / "best.weights.h5")
    write_json(folder / "config.json", {"patch_size": 64, "data_dir": str(folder / "gone")})
    weights = {
        "source": "sentinel2-moco", "file": "moco.pth", "sha256": "ab" * 32,
        "url": "https://host/moco.pth", "license": "CC-BY-4.0", "mean_bands": [],
    }  # fmt: skip
    row = {"val_mean_iou": 0.5, "epoch": 2, "learning_rate": 1e-4, "seconds": 18.0}
    write_json(folder / "run.json", {"status": "finished", "scores": row, "pretrained": weights})
    interval = {"value": 0.25, "low": 0.125, "high": 0.375}
    network = {"intervals": dict.fromkeys(("overall_accuracy", "mean_iou", "mean_f1"), interval)}
    write_json(folder / "evaluation" / "test" / "scores.json", {
        "split": "test", "patches": 7, "pixels": 800, "blocks": 3, "block_unit": "groups",
        "orientations": 8,
        "unet": network, "baseline": network | {"kind": "lightgbm"},
    })  # fmt: skip
    (folder / "MODEL_CARD.md").write_text("# what it is\n")
    calibration = {"method": "vector", "scale": list(SCALE), "bias": list(BIAS)}
    own = {"weights_sha256": sha256_of(folder / "best.weights.h5"), "data_hash": dataset.data_hash}
    write_json(folder / "calibration.json", calibration | own)
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert export.main(["--run-dir", str(run), "--output-dir", str(folder)]) == 0
    version = folder / "landcover" / "1"
    # The folder above may hold other models, and a later version.
    assert f"next: landcover predict --model-path {version} --input-image" in said.getvalue()
    return version


def test_the_contract_says_what_the_run_was(exported):
    info = ModelInfo.load(exported)
    assert (info.name, info.version, info.encoder) == ("landcover", 1, "resnet18")
    assert info.band_names == BAND_NAMES
    assert info.class_codes == LEGEND.codes and info.legend == LEGEND
    assert (info.patch_size, info.size_multiple) == (64, 32)
    assert info.upsampling == Upsampling(sharpening="glp")
    assert info.margin_px > 0 and info.receptive_field_px > 32
    assert info.calibration == Calibration(method="vector", scale=SCALE, bias=BIAS)
    assert info.class_fractions == {"10": 0.75, "20": 0.25}
    assert info.metrics == {"val_mean_iou": 0.5, "epoch": 2}
    assert (info.test_scores["patches"], info.test_scores["mean_f1"]["high"]) == (7, 0.375)
    assert info.test_scores["baseline"]["kind"] == "lightgbm"
    assert info.pretrained == {
        "name": "sentinel2-moco", "url": "https://host/moco.pth", "sha256": "ab" * 32,
        "license": "CC-BY-4.0",
    }  # fmt: skip
    item = json.loads((exported / "item.json").read_text())
    assert (exported / item["assets"]["card"]["href"]).read_text() == "# what it is\n"
    pretrained = [item["properties"][f"mlm:{name}"] for name in ("pretrained", "pretrained_source")]
    assert pretrained == [True, "sentinel2-moco, https://host/moco.pth, licence CC-BY-4.0"]
    assert len(info.weights_sha256) == 64 and len(info.data_hash) == 12
    assert info.software["tensorflow"] == tf.__version__


def test_it_predicts_what_the_run_predicts(exported, run):
    from landcover_tf.training.trained import load_trained

    network, _, _ = load_trained(RunFolder(run))
    image = np.random.default_rng(1).integers(1000, 6000, (1, 96, 64, 13)).astype(np.uint16)
    reflectance = (image * 1e-4 - 0.1).astype(np.float32)
    logits = np.asarray(network(reflectance, training=False), float) * SCALE + BIAS
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    answer = served(image=tf.constant(image))
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)
    codes = np.array(LEGEND.codes)[probabilities.argmax(axis=-1)]
    np.testing.assert_array_equal(answer["classes"], codes)


def test_size_on_disk_is_that_of_one_set_of_weights(exported, run):
    weights = (run / "best.weights.h5").stat().st_size
    assert sum(p.stat().st_size for p in exported.rglob("*") if p.is_file()) < 1.1 * weights


def test_the_next_export_gets_the_next_version(exported, run, monkeypatch):
    assert next_version(exported.parent) == 2


def test_list_shows_what_is_inside(exported, capsys):
    assert export.main(["--list", str(exported.parents[1])]) == 0
    shown = capsys.readouterr().out
    for text in ("serving_default, classify, predict_bytes, describe", "uint16 [batch, height",
                 "B8A (x 0.0001 -0.1)", "60 water bodies",
                 "validation   val_mean_iou 0.5000, epoch 2\n",
                 "licence CC-BY-4.0", "mean_f1 0.250 [0.125, 0.375]; 7 patches; "
                 "mean probability of 8 orientations; lightgbm overall",
                 "calibration  vector scaling", "saved_model.pb"):  # fmt: skip
        assert text in shown


def test_an_export_of_a_run_without_a_test_score_is_listed(exported, tmp_path, capsys):
    replace(ModelInfo.load(exported), test_scores={}, pretrained=None).save(tmp_path)
    assert export.main(["--list", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "not evaluated before the export" in shown and "pretrained   none recorded" in shown


def refused(capsys, *arguments) -> str:
    assert export.main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


def test_an_existing_version_is_refused_before_tensorflow_starts(exported, run, capsys):
    message = refused(
        capsys, "--run-dir", run, "--output-dir", exported.parents[1], "--version", "1"
    )
    assert "holds version 1 already; versions are never overwritten" in message


def test_a_second_export_into_a_folder_is_refused_before_its_work(run, tmp_path, capsys):
    folder = tmp_path / "models" / "landcover"
    with alone(folder / ".lock", "the first"):
        assert export.main(["--run-dir", str(run), "--output-dir", str(tmp_path / "models")]) == 2
    assert f"another process exports into {folder}; wait for its end" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_an_unfinished_run_is_refused(run, tmp_path, capsys):
    for name in ("config.json", "model_spec.json", "dataset.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "run.json").write_text(json.dumps({"status": "interrupted"}))
    out = tmp_path / "out"
    message = refused(capsys, "--run-dir", tmp_path, "--output-dir", out)
    assert "has not finished" in message
    (tmp_path / "run.json").write_text(json.dumps({"status": "finished"}))
    assert "lacks best.weights.h5" in refused(capsys, "--run-dir", tmp_path, "--output-dir", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --run-dir and --output-dir, or --list EXPORT"),
        (["--run-dir", "x", "--output-dir", "y", "--version", "0"], "at least 1, got 0"),
        (["--run-dir", "x", "--output-dir", "y", "--name", "a/b"], "must consist of letters"),
        (["--run-dir", "x", "--output-dir", "y", "--name", ".."], "begin with a letter or digit"),
        (["--run-dir", "x", "--output-dir", "y", "--name", "größe"], "must consist of letters"),
        (["--run-dir", "nowhere", "--output-dir", "y"], "nowhere is not a run folder"),
        (["--list", "nowhere"], "nowhere holds no exported model"),
    ],
)
def test_bad_flags_are_named(arguments, message, capsys):
    assert message in refused(capsys, *arguments)


def test_a_format_whose_package_is_missing_is_told_at_once(run, tmp_path, capsys):
    if importlib.util.find_spec("tf2onnx") or importlib.util.find_spec("onnxruntime"):
        pytest.skip("the packages are here")
    message = refused(
        capsys, "--run-dir", run, "--output-dir", tmp_path / "out", "--format", "onnx"
    )
    assert "needs tf2onnx and onnxruntime; install landcover-tf[onnx]" in message
    assert not (tmp_path / "out").exists()


FILES = {
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "tflite": {"model.tflite"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_other_formats_agree_with_the_saved_model(run, tmp_path, name, capsys):
    for package in export.PACKAGES.get(name, ()):
        pytest.importorskip(package)
    arguments = ["--run-dir", str(run), "--output-dir", str(tmp_path), "--format", name]
    assert export.main(arguments) == 0
    assert {p.name for p in (tmp_path / "landcover" / "1" / name).iterdir()} == FILES[name]
    shown = capsys.readouterr()
    assert "; on random images (16384 pixels) it differs" in shown.out
    assert f"gone holds no split with all its shards, so {name} were compared" in shown.err
