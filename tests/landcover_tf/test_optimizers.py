"""Optimizers against hand calculation and matrix decompositions."""

import keras
import numpy as np
import pytest

from landcover_tf.optimizers import Muon, PartedOptimizer, orthogonal_step

KINDS = ["adamw", "sgd", "lion", "muon"]


def small_model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(1 + seed)
    return keras.Sequential([
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(6, 3, padding="same", name="encoder"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Conv2D(2, 1, name="logits"),
    ], name="small")  # fmt: skip


def parted(model: keras.Model, kind: str, factor: float = 1.0, **settings) -> PartedOptimizer:
    optimizer = PartedOptimizer(
        kind,
        weight_decay=settings.pop("weight_decay", 0.0),
        part_of=lambda v: "encoder" if "encoder" in v.path else "decoder",
        factors={"decoder": 1.0, "encoder": factor},
        **settings,
    )
    optimizer.assemble(model.trainable_variables)
    return optimizer


def gradients(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=v.shape).astype(np.float32) for v in model.trainable_variables]


def steps(model: keras.Model, optimizer: PartedOptimizer, seeds) -> list[np.ndarray]:
    together = optimizer.assemble(model.trainable_variables)
    for seed in seeds:
        optimizer.set_learning_rate(1e-2)
        scaled = [keras.ops.convert_to_tensor(g) for g in gradients(model, seed)]
        together.apply(scaled, model.trainable_variables)
    return [v.numpy() for v in model.trainable_variables]


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (1, 1, 40, 4), (2, 2, 64, 5)])
def test_orthogonal_step_keeps_directions_and_evens_their_strength(shape):
    rng = np.random.default_rng(0)
    gradient = (rng.normal(size=shape) * np.geomspace(1, 5, shape[-1])).astype(np.float32)
    matrix = gradient.reshape(-1, shape[-1])
    step = np.asarray(orthogonal_step(keras.ops.convert_to_tensor(gradient)))
    size = 0.2 * np.sqrt(max(matrix.shape))
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    # The five repetitions send singular values to [0.68, 1.14] (Jordan et al. 2024) without
    # turning the singular vectors.
    inside = u.T @ (step.reshape(matrix.shape) / size) @ vt.T
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-3)
    assert np.diag(inside).min() > 0.6 and np.diag(inside).max() < 1.3
    assert s.max() / s.min() > np.diag(inside).max() / np.diag(inside).min()


def test_orthogonal_step_has_the_size_of_adams():
    gradient = np.random.default_rng(1).normal(size=(3, 3, 32, 64)).astype(np.float32) * 1e-6
    step = np.asarray(orthogonal_step(keras.ops.convert_to_tensor(gradient)))
    # 0.2 per element if all 64 singular values were 1; they are between 0.68 and 1.14.
    assert 0.2 * 0.68 < np.sqrt(np.mean(step**2)) < 0.2 * 1.14
    assert not np.asarray(orthogonal_step(keras.ops.zeros((3, 3, 4, 5)))).any()


def test_muon_takes_adams_step_for_the_head_and_for_vectors():
    ours, reference = small_model(), small_model()
    muon = Muon(learning_rate=1e-2)
    adam = keras.optimizers.AdamW(learning_rate=1e-2, weight_decay=0.0, epsilon=1e-7)
    for seed in range(3):
        for model, optimizer in ((ours, muon), (reference, adam)):
            tensors = [keras.ops.convert_to_tensor(g) for g in gradients(model, seed)]
            optimizer.apply(tensors, model.trainable_variables)
    for a, b in zip(ours.trainable_variables, reference.trainable_variables, strict=True):
        same = np.allclose(a.numpy(), b.numpy(), atol=1e-5)
        assert same == ("encoder/kernel" not in a.path), a.path
    assert Muon.from_config(muon.get_config()).momentum == muon.momentum


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoders_rate_is_a_factor_of_the_decoders(kind):
    full, tenth = small_model(), small_model()
    start = full.get_layer("encoder").kernel.numpy()
    steps(full, parted(full, kind), [0])
    steps(tenth, parted(tenth, kind, 0.1), [0])
    moved = [m.get_layer("encoder").kernel.numpy() - start for m in (full, tenth)]
    np.testing.assert_allclose(moved[1], moved[0] * 0.1, rtol=1e-3, atol=1e-8)
    np.testing.assert_array_equal(
        full.get_layer("logits").kernel.numpy(), tenth.get_layer("logits").kernel.numpy()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_restored_state_continues_to_the_last_bit(kind):
    model = small_model()
    whole = steps(model, parted(model, kind, weight_decay=0.1), range(4))
    first = small_model()
    optimizer = parted(first, kind, weight_decay=0.1)
    steps(first, optimizer, range(2))
    second = small_model(seed=7)
    second.set_weights(first.get_weights())
    resumed = parted(second, kind, weight_decay=0.1)
    resumed.restore(optimizer.state())
    for expected, found in zip(whole, steps(second, resumed, range(2, 4)), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_decay_shrinks_kernels_only(kind):
    model = small_model()
    model.get_layer("norm").gamma.assign([2.0] * 6)
    optimizer = parted(model, kind, weight_decay=0.5)
    before = model.get_layer("encoder").kernel.numpy()
    together = optimizer.assemble(model.trainable_variables)
    optimizer.set_learning_rate(1e-2)
    together.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    # Decoupled: kernel * (1 - rate * decay), whatever the gradient.
    np.testing.assert_allclose(
        model.get_layer("encoder").kernel.numpy(), before * (1 - 0.005), rtol=1e-5
    )
    np.testing.assert_array_equal(model.get_layer("norm").gamma.numpy(), [2.0] * 6)


def test_the_state_of_another_optimizer_is_refused():
    model = small_model()
    with pytest.raises(ValueError, match="optimizer state does not fit"):
        parted(model, "adamw").restore(parted(small_model(), "sgd").state())
