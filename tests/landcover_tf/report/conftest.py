"""What a report is made of, without a training, and a browser to look at it."""

import json
import shutil
from pathlib import Path

import pytest
from fakes.report_page import random_layers
from fakes.small_dataset import LEGEND, write_small_dataset


@pytest.fixture
def evaluated_run(tmp_path) -> Path:
    """A run folder with the files that a report reads, of legend `three`."""
    folder = tmp_path / "run"
    info = write_small_dataset(folder, train=2, val=1)
    for name in ("model_spec.json", "best.weights.h5"):
        (folder / name).touch()
    (folder / "config.json").write_text('{"epochs": 3}')
    (folder / "run.json").write_text('{"status": "finished", "software": {}, "hardware": {}}')
    interval = {"value": 0.5, "low": None, "high": None}
    figures = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "iou": 0.5}
    unet = {
        "overall_accuracy": 0.5,
        "macro": {"iou": 0.5, "f1": 0.5},
        "intervals": dict.fromkeys(("overall_accuracy", "mean_iou", "mean_f1"), interval),
        "classes": {n: {"support": 9, "iou_interval": interval} | figures for n in LEGEND.names},
    }
    scores = {
        "unet": unet, "dataset": "small", "data_hash": info.data_hash, "patches": 1,
        "split": "test", "bootstrap_samples": 0, "blocks": 1, "block_unit": "patches", "pixels": 27,
        "calibration": {"method": "none", "ece": 0.1},
    }  # fmt: skip
    (folder / "evaluation" / "test").mkdir(parents=True)
    (folder / "evaluation" / "test" / "scores.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Random rasters of each kind on one grid."""
    return random_layers(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser():
    """A Chromium; one for all tests would keep its event loop running in other files."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-headless-shell", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if not executable:
        pytest.skip("no Chromium on this machine")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=quiet)
        yield chromium
        chromium.close()
