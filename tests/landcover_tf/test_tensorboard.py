"""What TensorBoard finds in the log of a run, read as TensorBoard reads it."""

import csv
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from landcover_tf.accuracy.scores import scores
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.legend import load_legend
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.training_log import TensorBoardLog


def events(folder: Path) -> dict[str, dict[str, list]]:
    """Returns (step, value) pairs by plugin and tag."""
    found = defaultdict(lambda: defaultdict(list))
    for file in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                plugin = value.metadata.plugin_data
                # Settings stand in the metadata; all else is a tensor.
                content = plugin.content if plugin.plugin_name == "hparams" else (
                    tf.make_ndarray(value.tensor)
                )  # fmt: skip
                found[plugin.plugin_name][value.tag].append((event.step, content))
    return found


@pytest.fixture(scope="module")
def logged(tiny_run):
    return events(RunFolder(tiny_run).tensorboard)


def test_the_log_has_every_kind_of_summary_and_no_other(logged, tiny_run):
    run = RunFolder(tiny_run)
    # Weights are logged on demand only.
    assert set(logged) == {"scalars", "images", "hparams"}
    names = ("val_loss", "val_mean_iou", "val_mean_f1", "val_overall_accuracy", "train_loss",
             "learning_rate", "seconds", "patches_per_second", "input_wait_fraction")  # fmt: skip
    steps = ("loss", "gradient_norm", "loss_scale", "learning_rate/decoder",
             "learning_rate/encoder")  # fmt: skip
    info = DatasetInfo.load(run.dataset)
    present = [c.name for c in info.legend.classes if info.split("val").class_pixels.get(c.code)]
    assert len(present) > 2
    scalars = set(logged["scalars"])
    per_class = {tag for tag in scalars if tag.startswith("iou/")}
    assert scalars - per_class == {f"epoch/{n}" for n in names} | {f"step/{n}" for n in steps}
    # A class that is only predicted has an IoU, of 0; one that is absent has none.
    assert {f"iou/{name}" for name in present} <= per_class
    assert per_class <= {f"iou/{name}" for name in info.legend.names}
    pictures = run.read_config()["pictures"]
    assert pictures > 0
    assert set(logged["images"]) == {
        "confusion matrix", *(f"prediction {number}" for number in range(pictures))
    }  # fmt: skip


def test_the_scalars_are_those_of_the_history(logged, tiny_run):
    with RunFolder(tiny_run).history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("train_loss", "val_mean_iou", "learning_rate", "input_wait_fraction"):
        found = [(step, float(value)) for step, value in logged["scalars"][f"epoch/{name}"]]
        # The table has six digits.
        assert found == [
            (int(row["epoch"]), pytest.approx(float(row[name]), rel=1e-5)) for row in rows
        ]
    iou = [
        float(value)
        for tag, logs in logged["scalars"].items() if tag.startswith("iou/")
        for step, value in logs if step == len(rows)
    ]  # fmt: skip
    assert np.mean(iou) == pytest.approx(float(rows[-1]["val_mean_iou"]), rel=1e-5)


def test_the_pictures_are_pictures(logged, tiny_run):
    run = RunFolder(tiny_run)
    epochs = list(range(1, run.read_config()["epochs"] + 1))
    size = DatasetInfo.load(run.dataset).patch_grid.patch_size
    for tag, shown in logged["images"].items():
        assert [step for step, _ in shown] == epochs, tag
        for _, (width, height, encoded) in shown:
            picture = tf.io.decode_png(encoded).numpy()
            assert picture.shape == (int(height), int(width), 3)
            if tag != "confusion matrix":  # Colours, truth, prediction and errors.
                assert picture.shape == (size, 4 * size, 3)


def test_the_settings_are_hyperparameters(logged, tiny_run):
    config = RunFolder(tiny_run).read_config()
    ((_, content),) = logged["hparams"]["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert set(settings) == set(config)
    assert settings["lr"].number_value == config["lr"]
    assert settings["batch_size"].number_value == config["batch_size"]
    assert settings["model"].string_value == config["model"]


def test_the_log_folder_holds_events_alone(tmp_path):
    """The picture of the confusion matrix was left beside them."""
    legend = load_legend("landcover9")
    log = TensorBoardLog(tmp_path, legend, ["B02"])
    log.epoch(1, {"epoch": 1}, scores(np.eye(len(legend.classes), dtype=np.int64)))
    log.close()
    assert set(events(tmp_path)["images"]) == {"confusion matrix"}
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"events"}


def test_weights_are_logged_on_demand(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")], name="m")
    log = TensorBoardLog(tmp_path, load_legend("landcover9"), ["B02"])
    log.histograms(2, model)
    log.close()
    found = events(tmp_path)["histograms"]
    assert {tag.removeprefix("m/") for tag in found} == {"dense/kernel", "dense/bias"}
    assert all(step == 2 for logs in found.values() for step, _ in logs)
