"""The sheet shows every augmentation that there is."""

from PIL import Image

from landcover_tf.input_pipeline.augment import PROBABILITIES
from landcover_tf.input_pipeline.sheet import every_setting, main


def test_sheet_is_written(dataset, tmp_path):
    _, folder = dataset
    output = tmp_path / "sheet.png"
    assert main(["--data-dir", str(folder), "--output", str(output), "--split", "val"]) == 0
    with Image.open(output) as picture:
        width, height = picture.size
    assert width > 1500 and height > 800


def test_every_augmentation_is_drawn():
    settings = dict(every_setting())
    for name in PROBABILITIES:
        assert any(getattr(one, name) == 1 for one in settings.values()), name
    assert {s.paste_blend for s in settings.values()} == {"hard", "feathered", "poisson"}


def test_bad_input(tmp_path, capsys):
    assert main(["--data-dir", str(tmp_path), "--output", str(tmp_path / "a.png")]) == 2
    assert "holds no dataset.json" in capsys.readouterr().err
    assert main(["--data-dir", str(tmp_path), "--output", "a.jpg"]) == 2
    assert "must end in .png" in capsys.readouterr().err
