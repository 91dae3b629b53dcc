import json
import math
from itertools import product
from pathlib import Path

import pytest

from landcover_tf.errors import ConfigError
from landcover_tf.model_spec import joined_skips
from tuning.space import PRESETS, load_space, space_of, train_config

SPACE = {
    "search": {
        "lr": {"min": 1e-4, "max": 1e-2, "scale": "log"},
        "skip_connections": {"min": 2, "max": 4},
        "dice_weight": {"min": 0.25, "max": 1.0, "step": 0.25},
        "decoder_filters": {"choices": [[32, 16, 16, 8, 8], [64, 32, 16, 16, 8]]},
        "class_weights": {"choices": ["none", "auto"]},
    },
    "fixed": {"encoder_weights": "none"},
}


def space(**changes):
    return space_of(SPACE | changes, Path("space.json"))


def test_every_proposal_is_a_valid_config_within_its_range():
    found = space()
    hyperparameters = found.hyperparameters()
    for seed in range(30):
        chosen = {p.name: p.random_sample(seed) for p in hyperparameters.space}
        settings = found.settings(chosen)
        config = train_config(settings, Path("data"), Path("run"))
        assert 1e-4 <= config.lr <= 1e-2
        assert config.skip_connections in (2, 3, 4)
        assert config.dice_weight in (0.25, 0.5, 0.75, 1.0)
        assert config.decoder_filters in ((32, 16, 16, 8, 8), (64, 32, 16, 16, 8))
        assert config.class_weights in ("none", "auto")
        assert config.encoder_weights == "none"


def test_a_range_is_of_the_field_s_type_however_its_limits_are_written():
    found = space(search={"ce_weight": {"min": 0, "max": 1}, "batch_size": {"min": 2, "max": 4}})
    weight, batch = found.hyperparameters().space
    assert len({weight.random_sample(seed) for seed in range(20)}) == 20
    assert {batch.random_sample(seed) for seed in range(50)} == {2, 3, 4}
    optional = space(search={"encoder_lr_factor": {"min": 0, "max": 1}})
    assert not optional.search["encoder_lr_factor"].whole


def test_a_log_scale_samples_each_decade_alike():
    hyperparameters = space().hyperparameters()
    lr = next(p for p in hyperparameters.space if p.name == "lr")
    samples = [lr.random_sample(seed) for seed in range(400)]
    assert 0.4 < sum(s < 1e-3 for s in samples) / 400 < 0.6


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.json")))
def test_shipped_spaces_are_accepted(name):
    found = load_space(name)
    found.check(Path("data"), {})
    assert found.name == name


def test_encoders_of_any_depth_have_skips_in_the_wide_space():
    search = load_space("wide").source["search"]
    depths, skips = (
        range(search[name]["min"], search[name]["max"] + 1)
        for name in ("encoder_depth", "skip_connections")
    )
    networks = {(depth, joined_skips(skip, depth)) for depth in depths for skip in skips}
    assert len(networks) == 8 and all(joined > 0 for _, joined in networks)


def test_the_hash_follows_what_is_searched_and_not_the_words():
    assert space().hash == space(name="other", description="the same").hash
    assert space().hash != space(fixed={"encoder_weights": "imagenet"}).hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"learning_rate": {"min": 1, "max": 2}}}, "'learning_rate', which the"),
        ({"search": {"skip_conections": {"min": 1, "max": 2}}}, "mean 'skip_connections'"),
        ({"search": {"output_dir": {"choices": ["a"]}}}, "set for each run"),
        ({"search": {"lr": {"min": 2, "max": 1}}}, "min < max"),
        ({"search": {"lr": {"min": 0, "max": 1, "scale": "log"}}}, "log above 0"),
        ({"search": {"lr": {"min": "low", "max": 1}}}, "as numbers"),
        ({"search": {"lr": {"choices": []}}}, "at least one value"),
        ({"search": {"batch_size": {"min": 2, "max": 4.5}}}, "holds whole numbers"),
        ({"search": {"loss": {"min": 0, "max": 1}}}, "no numbers, so it needs choices"),
        ({"search": {"lr": {"from": 1}}}, "expected an object"),
        ({"search": {"lr": {"min": 1, "max": 2, "step": 0}}}, "step"),
        ({"search": {"lr": {"min": 1, "max": 2, "step": math.nan}}}, "as numbers"),
        ({"search": {"lr": {"min": 1, "max": math.inf}}}, "as numbers"),
        ({"search": {}}, "at least one field"),
        ({"search": {"encoder_weights": {"choices": ["none"]}}}, "both fixes and searches"),
        ({"serch": {}}, "holds 'name'"),
    ],
)
def test_spaces_that_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        space(**changes)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"model": {"choices": ["resnet18", "vgg"]}}, "vgg"),
        ({"lr": {"min": -1.0, "max": 1.0}}, "--lr must be above 0"),
        ({"skip_connections": {"min": 2, "max": 6}}, "skip-connections"),
        ({"label_smoothing": {"min": 0.0, "max": 1.0}}, "label_smoothing must be in"),
        ({"batch_size": {"choices": ["many"]}}, "many"),
    ],
)
def test_values_that_the_training_refuses_are_told_before_the_search(ranges, message):
    found = space(search=ranges)
    with pytest.raises(ConfigError, match=message):
        found.check(Path("data"), {})


@pytest.mark.parametrize(
    "ranges",
    [
        {"skip_connections": {"choices": [5]}, "local_statistics": {"choices": [[], [3]]}},
        {"local_statistics": {"choices": [[3], []]}, "skip_connections": {"min": 3, "max": 5}},
    ],
)
def test_a_value_that_needs_one_of_another_field_is_accepted(ranges):
    """It was refused beside the other field's default."""
    assert space(search=ranges).check(Path("data"), {}).skip_connections == 5


def test_a_value_that_no_other_field_allows_is_named():
    never = {"skip_connections": {"choices": [2, 4]}, "local_statistics": {"choices": [[], [3]]}}
    message = r"space 'space': local_statistics \[3\] is refused, .* --skip-connections 5"
    with pytest.raises(ConfigError, match=message):
        space(search=never).check(Path("data"), {})


def test_a_space_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="quick, standard, wide"):
        load_space("fast")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_space(str(broken))
    good = tmp_path / "good.json"
    good.write_text(json.dumps(SPACE))
    assert load_space(str(good)).name == "good"


@pytest.mark.parametrize(
    ("ranges", "count"),
    [
        ({"class_weights": {"choices": ["none", "auto"]}, "seed": {"min": 3, "max": 5}}, 2 * 3),
        ({"dice_weight": {"min": 0.5, "max": 2, "step": 0.5}}, 4),
        ({"seed": {"min": 1, "max": 10, "step": 4}, "loss": {"choices": ["ce", "ce"]}}, 3),
        ({"seed": {"min": 1, "max": 2}, "lr": {"min": 1e-3, "max": 1e-2}}, math.inf),
    ],
)
def test_the_combinations_of_a_space_are_counted(ranges, count):
    assert space(search=ranges).combinations == count


def test_a_stepped_range_holds_its_upper_end_and_a_place_for_each_value():
    found = space(search={"warmup_fraction": {"min": 0.0, "max": 0.3, "step": 0.05}})
    values = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    (warmup,) = found.hyperparameters().space
    assert {warmup.random_sample(seed) for seed in range(100)} == set(values)
    assert len({warmup.value_to_prob(value) for value in values}) == 7
    assert [one["warmup_fraction"] for one in found.chosen()] == values
    assert found.combinations == 7


def test_losses_with_and_without_a_pixel_term_are_searched_together():
    found = space(
        search={
            "loss": {"choices": ["ce_dice", "dice", "focal_tversky"]},
            "boundary_weight": {"choices": [0, 1]},
            "class_weights": {"choices": ["none", "effective-number"]},
        }
    )
    for loss, boundary, weights in product(*(found.search[name].choices for name in found.search)):
        one = {"loss": loss, "boundary_weight": boundary, "class_weights": weights}
        assert train_config(one | {"label_smoothing": 0.1}, Path("data"), Path("run")).loss == loss
