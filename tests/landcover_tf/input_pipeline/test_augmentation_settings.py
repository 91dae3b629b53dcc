import subprocess
import sys
from dataclasses import replace

import pytest

from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline.augmentation_settings import (
    PRESETS,
    AugmentationSettings,
    load_augmentation,
)


def test_a_file_sets_what_it_names_and_leaves_the_rest_off(tmp_path):
    wanted = AugmentationSettings(flip=1.0, copy_paste=0.4, paste_blend="hard", paste_objects=7)
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('flip = 1\ncopy_paste = 0.4\npaste-blend = "hard"\npaste_objects = 7\n')
    json.write_text('{"flip": 1, "copy_paste": 0.4, "paste_blend": "hard", "paste_objects": 7}')
    assert load_augmentation(str(toml)) == load_augmentation(str(json)) == wanted
    assert load_augmentation("standard") == PRESETS["standard"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fliip = 0.5", "unknown key 'fliip'; expected one of affine, .* flip,"),
        ("flip = 1.5", r"flip must be in \[0, 1\], got 1.5"),
        ("flip = nan", r"flip must be in \[0, 1\], got nan"),
        ("cutout_fraction = -0.1", r"cutout_fraction must be in \[0, 1\]"),
        ("noise_std = -1", "noise_std must be at least 0 and finite, got -1.0"),
        ("max_scale = inf", "max_scale must be at least 0 and finite, got inf"),
        ('paste_blend = "soft"', "paste_blend must be one of hard, feathered, poisson, got 'soft'"),
        ("paste_objects = 2.5", "paste-objects: .*'2.5'"),
        ("paste_objects = 1000", "paste_objects must be at most 100, got 1000"),
        ('turn = "often"', "turn: .*'often'"),
        ("flip = ", "is malformed"),
    ],
)
def test_a_wrong_field_or_value_is_named_with_its_file(tmp_path, text, message):
    path = tmp_path / "strange.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"strange\.toml.*{message}"):
        load_augmentation(str(path))


def test_neither_a_preset_nor_a_file():
    with pytest.raises(ConfigError, match=r"one of none, .*, strong or a \.toml .*, got 'wild'"):
        load_augmentation("wild")
    with pytest.raises(ConfigError, match=r"cannot read config absent\.json"):
        load_augmentation("absent.json")


def test_wrong_settings_are_told_before_tensorflow_is_loaded():
    code = "import sys, landcover_tf.training.preflight; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_made_in_a_program_are_checked_too():
    with pytest.raises(ConfigError, match=r"haze must be in \[0, 1\], got 2"):
        replace(PRESETS["none"], haze=2)
