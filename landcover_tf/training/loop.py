"""Epochs and steps: training, validation, and the state that survives an interruption."""

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from landcover_tf.accuracy.scores import Scores, scores
from landcover_tf.errors import RunError
from landcover_tf.models.unet import freeze_encoder
from landcover_tf.optimizers import LOSS_SCALE
from landcover_tf.run_folder import Row, RunFolder
from landcover_tf.system.files import atomic_path, json_number
from landcover_tf.system.progress import progress as progress_bar
from landcover_tf.training.batches import Batches
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.profiling import Profiler
from landcover_tf.training.recovery import trust_best_on_disk
from landcover_tf.training.schedules import Plateau, Schedule
from landcover_tf.training.state import (
    Best,
    Progress,
    load_state,
    monitored,
    save_best,
    save_state,
)
from landcover_tf.training.steps import Stepper
from landcover_tf.training.training_log import Example, TensorBoardLog, epoch_line

LOG_EVERY_STEPS = 20
"""TensorBoard gets every so many-th step; each costs a wait for the device."""


class Loop:
    """Trains until the last epoch, an early stop, or a request to stop.

    Args:
        config: Settings.
        stepper: Makes single steps.
        batches: Gives training and validation data.
        devices: Where it runs.
        run: Folder that the chief writes.
        log: TensorBoard log, None for none.
    """

    def __init__(
        self,
        config: TrainConfig,
        stepper: Stepper,
        batches: Batches,
        devices: Devices,
        run: RunFolder,
        *,
        log: TensorBoardLog | None = None,
    ) -> None:
        self.config = config
        self.stepper = stepper
        self.batches = batches
        self.devices = devices
        self.run = run
        self.log = log
        self.progress = Progress()
        self.plateau = Plateau(patience=config.plateau_patience, drop=config.plateau_factor)
        self.schedule = Schedule(
            kind=config.schedule,
            total_steps=config.epochs * batches.steps,
            warmup_fraction=config.warmup_fraction,
            final_factor=config.final_lr_factor,
        )
        self._validation = batches.validation()
        self._stages = config.trainable_stages(0)
        self._unread: tuple[tf.Tensor, tf.Tensor, list[Any]] | None = None
        self._saved_at = time.monotonic()
        self._profiler = Profiler(config.profile_steps if devices.chief else (), run.tensorboard)

    def restore(self) -> None:
        """Goes on from the state in the run folder.

        Raises:
            RunError: The state is damaged, of another model or of longer epochs, or the best
                weights are lost and no epoch is left to make new ones.
        """
        arrays, self.progress = load_state(self.run.state)
        step, steps = self.progress.step, self.batches.steps
        if step > steps:  # Settings and data are those of the run; `check` has seen to that.
            raise RunError(
                f"{self.run.state} is behind step {step} of an epoch, which has {steps} now: a "
                "version with other cuts began it; go on with that or choose another --output-dir"
            )
        self._free_stages(self.progress.epoch)
        try:
            self.stepper.restore(arrays)
        except ValueError as error:
            raise RunError(f"{self.run.state}: {error}; choose another --output-dir") from error
        self._tell_of_other_precision(f"optimizer/{LOSS_SCALE}" in arrays)
        if self.progress.plateau:
            self.plateau.restore(self.progress.plateau)
        trust_best_on_disk(
            self.progress, self.run, epochs=self.config.epochs, tell=self.devices.chief
        )

    def train(self, stop: StopRequest) -> bool:
        """Returns True when the training is complete, False when it was asked to stop."""
        state = self.progress
        data = self.batches.training(state.epoch, state.step)
        try:
            while state.epoch < self.config.epochs and not state.stopped:
                if not self._train_epoch(data, stop) or not self._end_epoch(stop):
                    self.save()
                    return False
        finally:
            self._profiler.stop()
        return True

    def save(self) -> None:
        """Writes the state, if this process is the one that writes."""
        self._settle()
        self.progress.plateau = self.plateau.to_dict()
        if self.devices.chief:
            save_state(self.run.state, self.stepper.state(), self.progress)
        self._saved_at = time.monotonic()

    def _train_epoch(self, data: Iterator[list[Any]], stop: StopRequest) -> bool:
        """Returns False when asked to stop before the epoch's end."""
        state, total = self.progress, self.batches.steps
        start = time.monotonic() - state.train_seconds
        with progress_bar(
            label=f"epoch {state.epoch + 1}/{self.config.epochs}", total=total, unit="step"
        ) as bar:
            bar.leave = False
            bar.update(state.step)
            while state.step < total:
                asked = time.monotonic()
                batches = next(data)
                state.waiting_seconds += time.monotonic() - asked
                self._step(batches)
                bar.update()
                state.train_seconds = time.monotonic() - start
                # Asked before the save, because all workers must ask at the same step.
                if self.devices.any_worker(stop.signal is not None):
                    return False
                if time.monotonic() - self._saved_at > 60 * self.config.checkpoint_minutes:
                    self.save()
                if state.step > 1:
                    bar.set_postfix(loss=f"{state.loss_sum / (state.step - 1):.4f}", refresh=False)
        self._settle()
        return True

    def _step(self, batches: list[Any]) -> None:
        state = self.progress
        number = state.epoch * self.batches.steps + state.step
        rate = self._learning_rate(number)
        self.stepper.optimizer.set_learning_rate(rate)
        # While few steps are averaged, a long memory would hold on to the random start.
        decay = min(self.config.ema_decay, (1 + number) / (10 + number))
        self._profiler.begin_step()
        loss, norm = self.stepper.train(batches, decay)
        self._settle()
        self._unread = loss, norm, batches
        state.step += 1
        if self.log and number % LOG_EVERY_STEPS == 0:
            scale = self.stepper.optimizer.loss_scale()
            rates = self.stepper.optimizer.learning_rates()
            self.log.step(number, loss=float(loss), gradient_norm=float(norm), loss_scale=scale,
                          **{f"learning_rate/{part}": r for part, r in rates.items()})  # fmt: skip

    def _settle(self) -> None:
        """Reads the loss of the last step, which waits for the device.

        It is done after the next step was started, so that the device never waits for us.
        """
        if self._unread is None:
            return
        loss, norm, batches = self._unread
        self._unread = None
        value, length = float(loss), float(norm)
        # The loss scaler expects gradients that are not finite now and then: it skips them and
        # halves the scale, without end. A scale of 1 is no scaling, and will not help any more.
        bad_gradient = not math.isfinite(length) and self.stepper.optimizer.loss_scale() <= 1
        if bad_gradient or not math.isfinite(value):
            self._keep_bad_batch(batches)
            raise RunError(
                f"in epoch {self.progress.epoch + 1} the loss became {value} with a gradient of "
                f"norm {length}; the batch is in {self.run.bad_batch}: look for impossible values "
                "in it, or train anew with a lower --lr, --clip-norm or --mixed-precision float32"
            )
        self.progress.loss_sum += value

    def _validate(self, stop: StopRequest) -> tuple[float, Scores] | None:
        """Returns the validation loss and scores, None when asked to stop before the last batch."""
        classes = self.stepper.classes
        loss, pixels, matrix = 0.0, 0.0, np.zeros((classes, classes), np.int64)
        for batch in self._validation:
            batch_loss, batch_pixels, batch_matrix = self.stepper.validate(batch)
            loss += float(batch_loss)
            pixels += float(batch_pixels)
            matrix += batch_matrix.numpy()
            if self.devices.any_worker(stop.signal is not None):
                return None
        return loss / pixels if pixels else math.nan, scores(matrix)

    def _end_epoch(self, stop: StopRequest) -> bool:
        """Returns False when asked to stop; the state then stands behind the epoch's last step."""
        state = self.progress
        rate = self._learning_rate((state.epoch + 1) * self.batches.steps - 1)
        with self.stepper.average_weights():
            validated = self._validate(stop)
            if validated is None:
                return False
            loss, found = validated
            row = self._row(rate, loss, found)
            score = monitored(row, self.config.monitor)
            improved = state.improve(score, state.epoch + 1)
            if improved and self.devices.chief:
                best = Best(score=score, epoch=state.epoch + 1, row=row)
                save_best(self.run.best_weights, self.stepper.model, best)
            self._watch(row, found)
        if self.config.schedule == "plateau":
            self.plateau.update(score)
        state.history.append(row)
        patience = self.config.early_stopping
        state.stopped = bool(patience) and state.waited >= patience
        state.epoch, state.step = state.epoch + 1, 0
        state.loss_sum, state.train_seconds, state.waiting_seconds = 0.0, 0.0, 0.0
        self._free_stages(state.epoch)
        self.save()
        if self.devices.chief:
            self.run.write_history(state.history)
            print(epoch_line(row, self.config.epochs, improved=improved), flush=True)
        return True

    def _row(self, rate: float, loss: float, found: Scores) -> Row:
        state = self.progress
        patches = self.batches.steps * self.config.gradient_accumulation * self.config.batch_size
        return {
            "epoch": state.epoch + 1,
            "train_loss": json_number(state.loss_sum / self.batches.steps),
            "val_loss": json_number(loss),
            "val_mean_iou": json_number(found.mean_iou),
            "val_mean_f1": json_number(found.mean_f1),
            "val_overall_accuracy": json_number(found.overall_accuracy),
            "learning_rate": rate,
            "seconds": state.train_seconds,
            "patches_per_second": patches / max(state.train_seconds, 1e-9),
            "input_wait_fraction": state.waiting_seconds / max(state.train_seconds, 1e-9),
        }

    def _watch(self, row: Row, found: Scores) -> None:
        """Writes what TensorBoard shows of an epoch; the model has its averaged weights now."""
        if self.log is None:
            return
        number = self.progress.epoch + 1
        self.log.epoch(number, row, found)
        if self.config.pictures:
            self.log.examples(number, self._examples())
        if self.config.histograms_every and number % self.config.histograms_every == 0:
            self.log.histograms(number, self.stepper.model)

    def _examples(self) -> list[Example]:
        return [
            Example(
                image=image[0].numpy(),
                label=label[0].numpy(),
                predicted=self.stepper.predict(image)[0].numpy(),
            )
            for image, label in self.batches.examples(self.config.pictures)
        ]

    def _learning_rate(self, number: int) -> float:
        return self.config.lr * self.plateau.factor * self.schedule.factor(number)

    def _free_stages(self, epoch: int) -> None:
        stages = self.config.trainable_stages(epoch)
        if stages != self._stages:
            freeze_encoder(self.stepper.model, trainable_stages=stages)
            self.stepper.retrace()
            self._stages = stages

    def _tell_of_other_precision(self, scaled_before: bool) -> None:
        scaled = self.stepper.optimizer.scale_loss
        if scaled != scaled_before and self.devices.chief:
            names = {True: "float16", False: "another precision than float16"}
            print(f"the run was trained in {names[scaled_before]} and goes on in {names[scaled]}")

    def _keep_bad_batch(self, batches: list[Any]) -> None:
        local = self.devices.strategy.experimental_local_results
        images, labels = (
            np.concatenate([v.numpy() for batch in batches for v in local(batch[i])])
            for i in (0, 1)
        )
        if self.devices.chief:
            with atomic_path(self.run.bad_batch) as temporary:
                np.savez_compressed(temporary, image=images, label=labels)
