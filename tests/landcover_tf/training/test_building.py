"""What is set is what trains."""

from dataclasses import replace

import pytest
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import settings

from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.building import build
from landcover_tf.training.distributed import choose_devices

LOSS = {
    "ce_weight": 0.3, "dice_weight": 0.6, "class_weights": (1.0, 2.0, 4.0), "label_smoothing": 0.1,
    "focal_gamma": 1.5, "tversky_alpha": 0.4, "tversky_beta": 0.5, "tversky_gamma": 0.8,
    "boundary_weight": 3.0, "boundary_px": 4,
}  # fmt: skip


def test_every_setting_arrives_where_it_acts(tmp_path):
    info = write_small_dataset(tmp_path / "data", train=4, val=1)
    config = settings(
        tmp_path / "data", tmp_path / "run", decoder_filters=(4,) * 5, loss="focal_dice",
        optimizer="lion", weight_decay=0.03, encoder_lr_factor=0.25, clip_norm=0.7, ema_decay=0.8,
        gradient_accumulation=3, jit="on", mixed_precision="float32", **LOSS,
    )  # fmt: skip
    built = build(config, info, choose_devices("single"), resume=False)
    stepper = built.stepper
    loss = stepper.loss.get_config()
    assert {name: loss[name] for name in LOSS} == LOSS | {"class_weights": [1.0, 2.0, 4.0]}
    assert loss["kind"] == "focal_dice" and built.class_weights == LOSS["class_weights"]
    assert (stepper.clip_norm, stepper.ema_decay, stepper.accumulation) == (0.7, 0.8, 3)
    assert stepper.jit and built.jit and built.precision == "float32"
    optimizer = stepper.optimizer
    assert optimizer.factors == {"decoder": 1.0, "encoder": 0.25}
    assert {type(o).__name__ for o in optimizer.optimizers.values()} == {"Lion"}
    assert all(o.weight_decay == 0.03 for o in optimizer.optimizers.values())
    optimizer.set_learning_rate(0.1)
    rates = {part: float(o.learning_rate) for part, o in optimizer.optimizers.items()}
    assert rates == pytest.approx({"decoder": 0.1, "encoder": 0.025})


@pytest.mark.parametrize("weights", ["auto", "effective-number", (1.0, 50.0, 50.0)])
def test_a_loss_without_pixel_term_gets_no_class_weights(tmp_path, weights):
    """They were computed, announced and recorded, and the loss never took them."""
    info = write_small_dataset(tmp_path / "data", train=4, val=1)
    config = settings(
        tmp_path / "data", tmp_path / "run", decoder_filters=(4,) * 5, loss="dice", jit="off",
        class_weights=weights,
    )  # fmt: skip
    built = build(config, info, choose_devices("single"), resume=False)
    assert built.class_weights is None and built.stepper.loss.settings.class_weights is None


@pytest.mark.parametrize("kind", ["minmax", "log"])
def test_a_run_with_its_own_normalizer_keeps_its_values(tmp_path, kind):
    """A dataset that got the kind, or other statistics, gave the network other inputs midway."""
    info = write_small_dataset(tmp_path / "data", train=4, val=1)
    config = settings(
        tmp_path / "data", tmp_path / "run", decoder_filters=(4,) * 5, jit="off", normalizer="log"
    )
    begun = build(config, info, choose_devices("single"), resume=False).spec
    begun.save(RunFolder(config.output_dir).model_spec)
    fitted = Normalizer.fit(kind, info.statistics, info.scale, info.offset)
    brighter = replace(
        info,
        normalizer=replace(fitted, shift=(0.0,) * 4),
        statistics=replace(info.statistics, histogram=info.statistics.histogram[::-1]),
    )
    assert brighter.data_hash == info.data_hash
    assert build(config, brighter, choose_devices("single"), resume=True).spec == begun
