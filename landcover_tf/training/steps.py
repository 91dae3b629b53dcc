"""One training step and one validation step, for any number of devices and hosts.

Keras' own `fit` cannot train on several hosts (keras#20585), cannot accumulate gradients on
several devices, and does not remember its place in an epoch. One step on public API serves all
cases: a `tf.distribute` strategy runs it, and the default strategy is one of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from landcover_tf.metrics import confusion
from landcover_tf.optimizers import LOSS_SCALE, PartedOptimizer

Batch = tuple[tf.Tensor, tf.Tensor]
# AutoGraph would rewrite the sources, for control flow that no step has, which takes seconds.
_graph = partial(tf.function, autograph=False)


class Stepper:
    """Trains and validates a model batch by batch.

    Args:
        model: From reflectance to logits; built in the scope of `strategy`.
        loss: Takes dense labels and logits.
        optimizer: Built for nothing yet; see `retrace`.
        strategy: Where the steps run.
        clip_norm: Largest norm of the whole gradient; 0 does not clip.
        accumulation: Batches per optimizer step.
        ema_decay: Decay of the average of the weights; 0 keeps none.
        jit: Compile training with XLA, every accumulated batch of it; validation is not compiled.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        optimizer: PartedOptimizer,
        *,
        strategy: tf.distribute.Strategy,
        clip_norm: float = 0.0,
        accumulation: int = 1,
        ema_decay: float = 0.0,
        jit: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.strategy = strategy
        self.clip_norm = clip_norm
        self.accumulation = accumulation
        self.ema_decay = ema_decay
        self.jit = jit
        self.replicas = strategy.num_replicas_in_sync
        self.classes = model.output_shape[-1]
        # Random states are integers and must not be averaged.
        self.averaged = [v for v in model.weights if v.dtype.startswith("float")]
        with strategy.scope():
            self.averages = [
                tf.Variable(v.numpy(), trainable=False, name=f"average_{v.path}")
                for v in (self.averaged if ema_decay else [])
            ]
        self._validate = _graph(self._validate_everywhere, reduce_retracing=True)
        # Run eagerly, a network keeps what every layer gave until its last one is done.
        self._predict = _graph(self._classes_of, reduce_retracing=True)
        self.retrace()

    def retrace(self) -> None:
        """Takes over which layers are trainable; call it after changing that."""
        with self.strategy.scope():
            self._together = self.optimizer.assemble(self.model.trainable_variables)
            self._sums = [
                # One sum per replica, which only its own replica reads and writes.
                tf.Variable(
                    tf.zeros(v.shape),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for v in (self.model.trainable_variables if self.accumulation > 1 else [])
            ]
        self._train = _graph(self._train_everywhere)
        self._accumulate = _graph(self._accumulate_everywhere)

    def train(self, batches: list[Batch], decay: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes one optimizer step and returns the loss and the norm of the gradient.

        Args:
            batches: `accumulation` batches, distributed by the strategy.
            decay: Decay of the average of the weights at this step.

        Returns:
            Mean loss of the batches and norm before clipping, float32 scalars.
        """
        losses = [self._accumulate(batch) for batch in batches[:-1]]
        loss, norm = self._train(batches[-1], tf.constant(decay, tf.float32))
        return (loss + tf.add_n(losses)) / len(batches) if losses else loss, norm

    def validate(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the loss times its pixels, its pixels, and the confusion matrix of a batch.

        Returns:
            float32 scalar, float32 scalar, int64 [classes, classes] with the truth in rows.
        """
        return self._validate(batch)

    def predict(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the classes of a batch, uint8 [batch, height, width], on this process alone."""
        return self._predict(image)

    @contextmanager
    def average_weights(self) -> Iterator[None]:
        """Inside, the model has the averaged weights, where an average is kept."""
        if not self.averages:
            yield
            return
        trained = [v.numpy() for v in self.averaged]
        for variable, average in zip(self.averaged, self.averages, strict=True):
            variable.assign(average.numpy())
        try:
            yield
        finally:
            for variable, value in zip(self.averaged, trained, strict=True):
                variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """Returns every variable that training changes, by name."""
        values = {f"model/{v.path}": v.numpy() for v in self.model.variables}
        values |= {
            f"average/{v.path}": average.numpy()
            for v, average in zip(self.averaged, self.averages, strict=False)
        }
        return values | {f"optimizer/{n}": v for n, v in self.optimizer.state().items()}

    def restore(self, values: dict[str, np.ndarray]) -> None:
        """Goes on from what `state` gave.

        Raises:
            ValueError: It is the state of another model or optimizer.
        """
        odd = sorted((self.state().keys() ^ values.keys()) - {f"optimizer/{LOSS_SCALE}"})[:3]
        if odd:
            raise ValueError(f"state does not fit the model: {', '.join(odd)}")
        for variable in self.model.variables:
            variable.assign(values[f"model/{variable.path}"])
        for variable, average in zip(self.averaged, self.averages, strict=False):
            average.assign(values[f"average/{variable.path}"])
        self.optimizer.restore(
            {n.removeprefix("optimizer/"): v for n, v in values.items()
             if n.startswith("optimizer/")}
        )  # fmt: skip

    def _train_everywhere(self, batch: Batch, decay: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, norm = self.strategy.run(self._compiled(self._train_replica), args=batch)
        # Between replicas, because an average kept per replica would be synchronised again.
        for variable, average in zip(self.averaged, self.averages, strict=False):
            average.assign(decay * average + (1 - decay) * variable.value)
        return self._mean(loss), self._mean(norm)

    def _accumulate_everywhere(self, batch: Batch) -> tf.Tensor:
        return self._mean(self.strategy.run(self._compiled(self._accumulate_replica), args=batch))

    def _validate_everywhere(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        loss, pixels, matrix = self.strategy.run(self._validate_replica, args=batch)
        if self.replicas > 1:
            # The loss is the global batch's on every replica; the counts are each replica's own.
            loss, pixels = self._mean(loss), self._sum(pixels)
            return loss * pixels, pixels, self._sum(matrix)
        return loss * pixels, pixels, matrix

    def _compiled(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return _graph(step, jit_compile=True) if self.jit else step

    def _train_replica(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, gradients = self._gradients(image, label)
        if self._sums:
            gradients = [(g + s) / self.accumulation
                         for g, s in zip(gradients, self._sums, strict=True)]  # fmt: skip
            for sums in self._sums:
                sums.assign(tf.zeros_like(sums))
        if self.replicas > 1:
            # Summed here and not by Keras, which would clip before it sums.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [g / self.replicas for g in gradients]
        scale = self._together.scale_loss(tf.constant(1.0))
        norm = tf.linalg.global_norm(gradients) / scale
        if self.clip_norm:
            # A norm that is not finite must stay so: the loss scaler skips such a step.
            factor = tf.where(norm > self.clip_norm, self.clip_norm / norm, 1.0)
            gradients = [g * factor for g in gradients]
        # Keras sums over replicas once more.
        gradients = [g / self.replicas for g in gradients] if self.replicas > 1 else gradients
        self._together.apply(gradients, self.model.trainable_variables)
        return loss, norm

    def _accumulate_replica(self, image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._gradients(image, label)
        for sums, gradient in zip(self._sums, gradients, strict=True):
            sums.assign_add(gradient)
        return loss

    def _gradients(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, list[Any]]:
        with tf.GradientTape() as tape:
            loss = self._loss_of(label, self.model(image, training=True))
            scaled = self._together.scale_loss(loss)
        variables = [v.value for v in self.model.trainable_variables]
        return loss, tape.gradient(scaled, variables)

    def _validate_replica(
        self, image: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        logits = self.model(image, training=False)
        loss = self._loss_of(label, logits)
        matrix = confusion(label, logits, self.classes)
        return loss, tf.cast(tf.reduce_sum(matrix), tf.float32), matrix

    def _classes_of(self, image: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.argmax(self.model(image, training=False), axis=-1), tf.uint8)

    def _loss_of(self, label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        # Keras divides by the number of replicas, for gradients that are summed over them; here
        # every replica has the loss of the whole batch, and gradients are averaged.
        return tf.reshape(self.loss(label, logits), []) * self.replicas

    def _mean(self, value: Any) -> tf.Tensor:
        return self.strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)

    def _sum(self, value: Any) -> tf.Tensor:
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
