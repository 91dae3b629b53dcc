"""Warnings before a training begins."""

from dataclasses import replace

import pytest

from landcover_tf.training.doubts import (
    augmentation_doubt,
    class_doubts,
    doubts,
    loss_doubt,
    steps_doubt,
    unfreezing_doubt,
)
from landcover_tf.training.preflight import check


def test_classes_that_only_some_splits_have_are_told(begun):
    """A class of the validation split alone lowered the score of every epoch without a word."""
    info = check(begun("light")).info
    assert class_doubts(info) == []

    def with_classes(**splits):
        held = {
            name: replace(info.splits["val"], class_pixels=dict.fromkeys(codes, 9))
            for name, codes in splits.items()
        }
        return replace(info, splits=held)

    (told,) = class_doubts(with_classes(train=(10, 20), val=(10, 20, 30), test=(10, 20)))
    assert told.startswith("no pixel of urban is in train, but some are in val: the network can")
    seen_only = with_classes(train=(10, 20, 30), val=(10,), test=(10, 20))
    assert [told.partition(", but")[0] for told in class_doubts(seen_only)] == [
        "no pixel of forest is in val",
        "no pixel of urban is in val, test",
    ]
    # None at all has the class: it is the legend's alone.
    assert class_doubts(with_classes(train=(10, 20), val=(10, 20))) == []


def test_a_training_of_few_steps_is_doubted(begun):
    """12 patches in batches of 8 are one step an epoch, and a third of them is left out."""
    config = replace(begun("light"), batch_size=8, epochs=50)
    told = steps_doubt(config, patches=12, steps=1)
    assert told.startswith(
        "the training has 50 optimizer steps in all (50 epochs of 1, each without 4 of 12 patches)"
    )
    assert "; lower --batch-size, or raise --epochs" in told
    assert "(50 epochs of 1)," in steps_doubt(config, patches=8, steps=1)
    accumulated = replace(config, gradient_accumulation=2)
    assert "--gradient-accumulation, or" in steps_doubt(accumulated, patches=16, steps=1)
    assert steps_doubt(config, patches=80, steps=10) is None
    found = check(config)
    assert doubts(config, found.info, found.augmentation, patches=12, steps=1) == [told]


@pytest.mark.parametrize(
    ("augmentation", "scale", "named"),
    [
        ("standard", 1.0, "jitter, haze, noise of the augmentation"),
        ("standard", 1e-4, None),
        ("light", 1.0, None),
    ],
)
def test_augmentation_for_reflectance_doubts_data_that_are_none(
    begun, tmp_path, augmentation, scale, named
):
    """Haze of reflectance 0.45 made 8-bit images of 0 to 255 darker, without a word."""
    config = begun(augmentation)
    info = check(config).info
    bands = tuple(replace(band, scale=scale, offset=0.0) for band in info.bands)
    replace(info, bands=bands).save(tmp_path / "data")
    found = check(config)
    doubt = augmentation_doubt(found.info, found.augmentation)
    if named is None:
        assert doubt is None
    else:
        assert doubt.startswith(named) and "100% of band B02 are below -0.1 or above 1.5" in doubt
        assert "give --augmentation light" in doubt


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"class_weights": (1.0, 50.0, 50.0)}, "--class-weights"),
        ({"class_weights": "effective-number"}, "--class-weights"),
        ({"boundary_weight": 5.0, "label_smoothing": 0.3}, "--boundary-weight, --label-smoothing"),
        ({"class_weights": "auto"}, None),
    ],
)
def test_settings_of_a_pixel_term_that_the_loss_lacks_are_doubted(begun, given, flags):
    """Refused, an interrupted run that has them could not go on, nor a search over losses."""
    for loss in ("dice", "tversky", "focal_tversky", "lovasz"):
        config = replace(begun("light"), loss=loss, **given)
        expected = f"the training is the same without {flags}, for --loss {loss} has no term"
        assert (loss_doubt(config) or "").partition(" per")[0] == (expected if flags else "")
        both = replace(config, loss="ce_lovasz")
        assert loss_doubt(both) is None
        if flags:
            told = loss_doubt(replace(both, ce_weight=0))
            assert f"without {flags}, for --loss ce_lovasz --ce-weight 0 has no term" in told


@pytest.mark.parametrize(
    ("every", "epochs", "told"),
    [
        (10, 50, "frees 4 of 5 stages of the encoder in 50 epochs, and the weights of the others "
                 "stay random"),
        (1000, 10, "frees 0 of 5"),
        (10, 51, None),  # In the 51st the fifth is freed.
        (0, 10, None),
    ],
)  # fmt: skip
def test_stages_that_are_never_freed_are_told(begun, every, epochs, told):
    config = replace(begun("light"), unfreeze_every=every, epochs=epochs)
    found = check(config)
    doubt = unfreezing_doubt(config)
    assert (doubt is None) if told is None else (told in doubt)
    given = doubts(config, found.info, found.augmentation, patches=1000, steps=1000)
    assert (doubt in given) == (told is not None)
