"""Optimizers with their own learning rate per part of the model.

One Keras optimizer per part is kept for the whole training. Which of them take part may change
from epoch to epoch (progressive unfreezing): `assemble` puts those of the trainable variables
into one `keras.optimizers.MultiOptimizer`, and the moments of the others are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

OptimizerKind = Literal["adamw", "sgd", "lion", "muon"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial whose repetition sends singular values towards 1 (Jordan et
al. 2024, https://kellerjordan.github.io/posts/muon)."""
NEWTON_SCHULZ_STEPS = 5
INITIAL_LOSS_SCALE = 2.0**15
"""What Keras begins with, too (`keras.optimizers.LossScaleOptimizer`)."""
LOSS_SCALE = "loss_scale"
"""Name of the scale in the state; only float16 has one."""
HEAD = "logits"
"""Layer that gives the classes. Its kernel is no map between features, and Muon's authors leave
it to AdamW."""


class PartedOptimizer:
    """The optimizers of a model's parts, applied as one.

    Args:
        kind: `adamw`, `sgd` (Nesterov momentum 0.9), `lion`, or `muon` (see `Muon`).
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
        self._together: keras.optimizers.Optimizer | None = None

    def assemble(self, variables: Sequence[keras.Variable]) -> keras.optimizers.Optimizer:
        """Returns the optimizer of the now trainable variables, built.

        Parts are built when they first become trainable and keep their state afterwards, as the
        scale of the loss does.

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
        scale = self._scale() if self.scale_loss else None
        if scale is not None:
            together = keras.optimizers.LossScaleOptimizer(together, initial_scale=float(scale[0]))
        together.build(list(variables))
        if scale is not None:
            together.step_counter.assign(int(scale[1]))
        self._together = together
        return together

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of every part to `rate` times the part's factor."""
        for part, optimizer in self.optimizers.items():
            optimizer.learning_rate = rate * self.factors[part]

    def learning_rates(self) -> dict[str, float]:
        """Returns the rate of every part that trains."""
        return {
            part: float(optimizer.learning_rate.numpy())
            for part, optimizer in self.optimizers.items()
            if optimizer.built
        }

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
            values[LOSS_SCALE] = self._scale()
        return values

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets the variables of the built parts.

        The scale of the loss belongs to the device, not to the training: one that is not needed
        here is left out, and one that is missing begins anew.

        Raises:
            ValueError: The names or shapes are of another optimizer or other variables.
        """
        odd = sorted((self.state().keys() ^ values.keys()) - {LOSS_SCALE})[:3]
        if odd:
            raise ValueError(f"optimizer state does not fit: {', '.join(odd)}")
        for part, optimizer in self.optimizers.items():
            if optimizer.built:
                for number, variable in enumerate(optimizer.variables):
                    variable.assign(values[f"{part}/{number}/{variable.name}"])
        if self.scale_loss and LOSS_SCALE in values:
            scale, counter = values[LOSS_SCALE]
            self._together.dynamic_scale.assign(float(scale))
            self._together.step_counter.assign(int(counter))

    def _scale(self) -> np.ndarray:
        """Returns the scale of the loss and how many steps in a row it did well, float32 [2]."""
        if self._together is None:
            return np.array([INITIAL_LOSS_SCALE, 0], np.float32)
        found = self._together.dynamic_scale.numpy(), self._together.step_counter.numpy()
        return np.array(found, np.float32)


def _optimizer(kind: OptimizerKind, weight_decay: float, name: str) -> Any:
    decay = weight_decay or None
    if kind == "adamw":
        return keras.optimizers.AdamW(weight_decay=weight_decay, name=name)
    if kind == "sgd":
        return keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=decay, name=name)
    if kind == "lion":
        return keras.optimizers.Lion(weight_decay=decay, name=name)
    if kind == "muon":
        return Muon(weight_decay=decay, name=name)
    raise ValueError(f"optimizer must be one of {get_args(OptimizerKind)}, got {kind!r}")


@keras.saving.register_keras_serializable(package="landcover_tf")
class Muon(keras.optimizers.Optimizer):
    """Momentum made orthogonal for kernels (Jordan et al. 2024), AdamW for all other variables.

    `keras.optimizers.Muon` takes its orthogonal step for matrices only, so that every kernel of a
    convolutional network would get AdamW's. Here a kernel [height, width, a, b] is the matrix
    [height * width * a, b]. Its step has the size of AdamW's (Liu et al. 2025, arXiv 2502.16982:
    0.2 per element, root mean square), so that learning rate and weight decay can be kept.

    Args:
        learning_rate: Step size.
        momentum: Decay of the momentum, which looks ahead as Nesterov's does.
        beta_1: Decay of AdamW's first moment.
        beta_2: Decay of AdamW's second moment.
        epsilon: Added to the root of AdamW's second moment.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        momentum: float = 0.95,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        name: str = "muon",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, name=name, **kwargs
        )
        self.momentum = momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._moments = [self.add_variable_from_reference(v, name="moment") for v in variables]
        self._squares = [
            None if _orthogonal(v) else self.add_variable_from_reference(v, name="square")
            for v in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        moment, square = self._moments[number], self._squares[number]
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if square is not None:
            step = self._adam_step(gradient, moment, square)
        else:
            self.assign(moment, self.momentum * moment + gradient)
            step = orthogonal_step(self.momentum * moment + gradient)
        self.assign_sub(variable, rate * step)

    def get_config(self) -> dict[str, Any]:
        names = ("momentum", "beta_1", "beta_2", "epsilon")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def _adam_step(self, gradient: Any, moment: Any, square: Any) -> Any:
        steps = ops.cast(self.iterations + 1, gradient.dtype)
        self.assign(moment, self.beta_1 * moment + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        mean = moment / (1 - ops.power(self.beta_1, steps))
        spread = ops.sqrt(square / (1 - ops.power(self.beta_2, steps)))
        return mean / (spread + self.epsilon)


def orthogonal_step(gradient: Any) -> Any:
    """Returns the (nearly) orthogonal matrix next to a gradient, 0.2 per element.

    All singular values become about 1: directions that a kernel rarely takes are trained as fast
    as its common ones. A gradient of zeros stays zero.

    Args:
        gradient: float32 [..., b]; all axes but the last are rows.
    """
    shape = tuple(gradient.shape)
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    matrix = ops.reshape(gradient, (rows, columns))
    # The products are smaller the fewer rows there are.
    matrix = ops.transpose(matrix) if rows > columns else matrix
    # The Frobenius norm bounds the largest singular value, from which the iteration converges.
    matrix = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = ops.matmul(matrix, ops.transpose(matrix))
        matrix = a * matrix + ops.matmul(b * gram + c * ops.matmul(gram, gram), matrix)
    matrix = ops.transpose(matrix) if rows > columns else matrix
    return ops.reshape(matrix, shape) * (0.2 * float(np.sqrt(max(rows, columns))))


def _orthogonal(variable: keras.Variable) -> bool:
    return len(variable.shape) > 1 and variable.path.split("/")[-2] != HEAD
