"""The sheet shows every augmentation that there is."""

import importlib
import subprocess
import sys

import numpy as np
from PIL import Image

from landcover_tf.input_pipeline.augmentation_settings import PROBABILITIES
from landcover_tf.input_pipeline.sheet import every_setting, every_version, main


def test_the_program_writes_the_sheet_and_says_where_it_is_and_nothing_else(dataset, tmp_path):
    """It started TensorFlow with its messages about missing GPUs."""
    _, folder = dataset
    output = tmp_path / "sheet.png"
    flags = ["--data-dir", folder, "--output", output, "--split", "val"]
    command = [sys.executable, "-m", "landcover_tf", "sheet", *flags]
    # On a machine where it is new, matplotlib tells that it looks for fonts.
    importlib.import_module("matplotlib.font_manager")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{output}\n", "")
    with Image.open(output) as picture:
        width, height = picture.size
    assert width > 1500 and height > 800


def test_every_augmentation_is_drawn():
    settings = dict(every_setting())
    for name in PROBABILITIES:
        assert any(getattr(one, name) == 1 for one in settings.values()), name
    assert {s.paste_blend for s in settings.values()} == {"hard", "feathered", "poisson"}


def test_every_augmentation_can_be_seen(dataset):
    info, _ = dataset
    rng = np.random.default_rng(0)
    images = rng.uniform(0.05, 0.4, (3, 48, 48, len(info.bands))).astype(np.float32)
    labels = np.zeros((3, 48, 48), np.uint8)
    labels[:, 0, 0] = 2  # A rarer class, of single pixels that are too small to paste.
    labels[2, 10:20, 20:28] = 1  # The only object, in one of the donors.
    (_, _, original), *versions = every_version(
        info, images, labels, np.ones_like(labels, bool), seed=0
    )
    for name, image, label in versions:
        assert image.max() > 0 and (image != images[0]).any(), name
        if name.startswith("copy-paste"):
            assert (label == 1).any() and not (original == 1).any(), name
    hard, feathered, poisson = (label for name, _, label in versions if "paste" in name)
    assert (hard == feathered).all() and (hard == poisson).all()


def test_a_file_that_is_there_is_kept(dataset, tmp_path, capsys):
    _, folder = dataset
    (tmp_path / "a.png").write_text("mine")
    flags = ["--data-dir", str(folder), "--output", str(tmp_path / "a.png"), "--split", "val"]
    assert main(flags) == 2
    assert "a.png exists already; pass --overwrite to replace it" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_text() == "mine"


def test_bad_input(tmp_path, capsys):
    assert main(["--data-dir", str(tmp_path), "--output", str(tmp_path / "a.png")]) == 2
    assert "holds no dataset.json" in capsys.readouterr().err
    assert main(["--data-dir", str(tmp_path), "--output", "a.jpg"]) == 2
    assert "must end in .png" in capsys.readouterr().err
