"""Optimizers with their own learning rate per part of the model.

One Keras optimizer per part is kept for the whole training. Which of them take part may change
from epoch to epoch (progressive unfreezing): `assemble` puts those of the trainable variables
into one `keras.optimizers.MultiOptimizer`, and the moments of the others are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np

OptimizerKind = Literal["adamw", "sgd", "lion"]


class PartedOptimizer:
    """The optimizers of a model's parts, applied as one.

    Args:
        kind: `adamw`, `sgd` (Nesterov momentum 0.9) or `lion`. Keras also has Muon, but its
            orthogonal step is for matrices: every kernel of a convolutional network would get
            AdamW's step, so it is not offered.
        weight_decay: Decoupled weight decay of kernels; biases and normalization have none.
        part_of: Returns the part's name of a model variable.
        factors: Factor on the learning rate of each part.
        scale_loss: Scale the loss dynamically, which float16 gradients need.
    """

    def __init__(
        self,
        kind: OptimizerKind,
        *,
        weight_decay: float,
        part_of: Callable[[keras.Variable], str],
        factors: Mapping[str, float],
        scale_loss: bool = False,
    ) -> None:
        self.part_of = part_of
        self.factors = dict(factors)
        self.optimizers = {part: _optimizer(kind, weight_decay, part) for part in factors}
        self.scale_loss = scale_loss
        self._loss_scale = 2.0**15

    def assemble(self, variables: Sequence[keras.Variable]) -> keras.optimizers.Optimizer:
        """Returns the optimizer of the now trainable variables, built.

        Parts are built when they first become trainable and keep their state afterwards.

        Args:
            variables: All trainable variables; a part must always come whole.
        """
        for part in dict.fromkeys(self.part_of(v) for v in variables):
            own = [v for v in variables if self.part_of(v) == part]
            optimizer = self.optimizers[part]
            if not optimizer.built:
                # Decay pulls kernels to zero; scales and offsets have no reason to be near it.
                optimizer.exclude_from_weight_decay(var_list=[v for v in own if v.ndim <= 1])
                optimizer.build(own)
        together = keras.optimizers.MultiOptimizer(lambda v: self.optimizers[self.part_of(v)])
        if self.scale_loss:
            together = keras.optimizers.LossScaleOptimizer(together, initial_scale=self._loss_scale)
        together.build(list(variables))
        self._together = together
        return together

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of every part to `rate` times the part's factor."""
        for part, optimizer in self.optimizers.items():
            optimizer.learning_rate = rate * self.factors[part]

    def loss_scale(self) -> float:
        """Returns the factor on the loss, 1 without loss scaling."""
        return float(self._together.dynamic_scale.numpy()) if self.scale_loss else 1.0

    def state(self) -> dict[str, np.ndarray]:
        """Returns all variables of the built parts by name."""
        values = {
            f"{part}/{number}/{variable.name}": variable.numpy()
            for part, optimizer in self.optimizers.items()
            if optimizer.built
            for number, variable in enumerate(optimizer.variables)
        }
        if self.scale_loss:
            values["loss_scale"] = np.array([
                self._together.dynamic_scale.numpy(), self._together.step_counter.numpy()
            ], np.float32)  # fmt: skip
        return values

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets the variables of the built parts.

        Raises:
            ValueError: The names or shapes are of another optimizer or other variables.
        """
        expected = self.state()
        if expected.keys() != values.keys():
            odd = sorted(expected.keys() ^ values.keys())[:3]
            raise ValueError(f"optimizer state does not fit: {', '.join(odd)}")
        for part, optimizer in self.optimizers.items():
            if optimizer.built:
                for number, variable in enumerate(optimizer.variables):
                    variable.assign(values[f"{part}/{number}/{variable.name}"])
        if self.scale_loss:
            scale, counter = values["loss_scale"]
            self._together.dynamic_scale.assign(float(scale))
            self._together.step_counter.assign(int(counter))


def _optimizer(kind: OptimizerKind, weight_decay: float, name: str) -> Any:
    decay = weight_decay or None
    if kind == "adamw":
        return keras.optimizers.AdamW(weight_decay=weight_decay, name=name)
    if kind == "sgd":
        return keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=decay, name=name)
    if kind == "lion":
        return keras.optimizers.Lion(weight_decay=decay, name=name)
    raise ValueError(f"optimizer must be one of {get_args(OptimizerKind)}, got {kind!r}")
