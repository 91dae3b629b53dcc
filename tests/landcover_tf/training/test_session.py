"""What a session of a training leaves in the run folder."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import settings, small_loop

from landcover_tf.models.weights import LoadedWeights
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.building import Built, model_spec
from landcover_tf.training.preflight import check
from landcover_tf.training.session import Session, _device_name

LOADED = LoadedWeights(
    source="sentinel2-moco", file="moco.pth", sha256="ab" * 32, url="https://host/moco.pth",
    license="CC-BY-4.0", mean_bands=(), unused_bands=("B01",),
)  # fmt: skip


def session(config, *, pretrained=None, resume=False) -> Session:
    """Returns a session of the real loop around a network of 500 weights."""
    loop, found = small_loop(config), check(config)
    built = Built(
        stepper=loop.stepper, spec=model_spec(config, found.info), precision="float32", jit=False,
        class_weights=None, encoder_weights="some", pretrained=pretrained,
    )  # fmt: skip
    return Session(
        config=config, found=found, built=built, batches=loop.batches, devices=loop.devices,
        resume=resume,
    )  # fmt: skip


def plain(tmp_path):
    """Returns settings of two steps in one epoch, on a dataset of its own."""
    write_small_dataset(tmp_path / "data", train=4)
    return settings(
        tmp_path / "data", tmp_path / "run", epochs=1, gradient_accumulation=1, ema_decay=0.0,
        augmentation="none", tensorboard=False, learning_curves=False,
    )  # fmt: skip


def test_the_origin_of_the_encoders_weights_outlives_an_interruption(tmp_path):
    config = plain(tmp_path)
    run = tmp_path / "run"
    assert session(config, pretrained=LOADED).run() == 0
    card, record = (run / "MODEL_CARD.md").read_text(), json.loads((run / "run.json").read_text())
    assert record["pretrained"]["sha256"] == "ab" * 32
    assert record["pretrained"]["license"] == "CC-BY-4.0"
    assert "| origin of the encoder's weights | https://host/moco.pth |" in card
    assert f"| their SHA-256 | {'ab' * 32} |" in card
    assert "| their licence | CC-BY-4.0 |" in card
    # A session that goes on loads nothing, and knows it all the same.
    (run / "run.json").unlink()
    (run / "MODEL_CARD.md").unlink()
    assert session(config, resume=True).run() == 0
    assert json.loads((run / "run.json").read_text())["pretrained"] == record["pretrained"]
    assert (run / "MODEL_CARD.md").read_text() == card


def test_random_weights_have_no_origin_and_the_card_has_the_runs_normalizer(tmp_path, capsys):
    config = replace(plain(tmp_path), normalizer="log")
    assert session(config).run() == 0
    # The small dataset has no test split.
    assert f"evaluate --run-dir {tmp_path / 'run'} --split val`" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pretrained"] is None
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "origin" not in card
    assert "| normalizer | log |" in card


def test_a_run_whose_loss_has_no_pixel_term_is_warned_of_settings_of_one_and_goes_on(
    tmp_path, capsys
):
    config = replace(plain(tmp_path), loss="dice", label_smoothing=0.1)
    assert session(config).run() == 0
    first = capsys.readouterr().err
    assert "warning: the training is the same without --label-smoothing, for --loss dice" in first
    (tmp_path / "run" / "run.json").unlink()
    assert session(config, resume=True).run() == 0


def test_the_skips_of_a_shallow_encoder_are_told_as_they_are(tmp_path, capsys):
    config = replace(plain(tmp_path), encoder_depth=2, skip_connections=4)
    assert session(config).run() == 0
    first = capsys.readouterr().out
    assert "resnet18 U-Net of 2 stages with 1 skip(s), 0.0 million" in first
    if not tf.config.list_physical_devices("GPU"):
        assert "on 1 device(s) (processor" in first
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "| decoder | skip connections: 1, channels: 32, 16 |" in card


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU in use")
def test_a_gpu_that_is_not_seen_is_told(tmp_path):
    assert _device_name(tmp_path / "nvidia0") == "processor"
    assert "does not see the NVIDIA GPU" in _device_name(tmp_path)


# Dies while the file under the temporary name is whole and the old one not yet replaced.
KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from landcover_tf.training import state
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
state.save_state(Path(sys.argv[1]), {"w": np.ones(2)}, state.Progress())
"""


def test_what_kills_during_a_save_left_goes_when_the_run_goes_on(tmp_path):
    config = plain(tmp_path)
    first = session(config)
    assert first.run() == 0
    run = first.found.run
    whole = {path for path in run.path.rglob("*") if path != run.summary}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(run.state)], check=False)
    assert killed.returncode == -signal.SIGKILL
    # Of an earlier moment: Keras's file before it has its name, and that of safetensors.
    (run.path / ".best.weights.0a1b.part.weights.h5").write_bytes(b"half")
    (run.path / ".best.weights.0a1b.part.h5").write_bytes(b"whole")
    (run.state.parent / ".tmpUCfelN").write_bytes(b"half")
    assert len({*run.path.rglob(".*")} - whole) == 4
    run.summary.unlink()
    assert session(config, resume=True).run() == 0
    assert {path for path in run.path.rglob("*") if path != run.summary} == whole


def test_an_epoch_tells_how_long_it_waited_for_data(tmp_path, capsys):
    config = plain(tmp_path)
    assert session(config).run() == 0
    (row,) = RunFolder(config.output_dir).read_history()
    assert 0 < row["input_wait_fraction"] < 1
    assert f" s, {row['input_wait_fraction']:.0%} waiting for data" in capsys.readouterr().out
