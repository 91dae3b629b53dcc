"""Segmentation losses that count valid pixels only.

Every term obeys the same rules: it computes in float32 whatever the precision policy, pixels
whose label is no class (255) contribute nothing, a class without valid pixels in the batch
contributes nothing, and a batch without valid pixels costs exactly 0.

Labels are dense indices, integer [batch, height, width]; predictions are logits [batch, height,
width, classes].
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from landcover_tf.errors import ConfigError

LOSS_KINDS: dict[str, tuple[str | None, str | None]] = {
    "ce": ("ce", None),
    "focal": ("focal", None),
    "dice": (None, "dice"),
    "tversky": (None, "tversky"),
    "focal_tversky": (None, "focal_tversky"),
    "lovasz": (None, "lovasz"),
    "ce_dice": ("ce", "dice"),
    "ce_tversky": ("ce", "tversky"),
    "ce_lovasz": ("ce", "lovasz"),
    "focal_dice": ("focal", "dice"),
}
"""Each loss is a term per pixel, a term per region, or the weighted sum of both."""

# Dice of an almost empty class is noise; one pixel of smoothing damps it and keeps the quotient
# finite. It is tiny against the thousands of pixels of a real batch.
_SMOOTHING_PX = 1.0
# Below every class and every negated class.
_NO_CLASS = -1e6

_SETTINGS = (
    *("kind", "ce_weight", "dice_weight", "class_weights", "label_smoothing", "focal_gamma"),
    *("tversky_alpha", "tversky_beta", "tversky_gamma", "boundary_weight", "boundary_px"),
)


@keras.saving.register_keras_serializable(package="landcover_tf")
class SegmentationLoss(keras.losses.Loss):
    """A term per pixel (cross-entropy, focal), a term per region (Dice, ...), or both.

    Args:
        kind: A key of `LOSS_KINDS`.
        ce_weight: Factor of the pixel term where there are two terms.
        dice_weight: Factor of the region term where there are two terms.
        class_weights: Weight of each class in the pixel term. The region terms take no weights:
            they already count every class equally, however rare.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        focal_gamma: Exponent of (1 - p) in the focal term (Lin et al. 2017); 0 is cross-entropy.
        tversky_alpha: Weight of false positives (Salehi et al. 2017).
        tversky_beta: Weight of false negatives; above alpha, a rare class is found more often.
        tversky_gamma: Exponent of (1 - index) in focal-Tversky (Abraham and Khan 2019).
        boundary_weight: A pixel within `boundary_px` of another class weighs 1 + this in the
            pixel term. Borders are where maps err; 0 leaves all pixels equal.
        boundary_px: Reach of the boundary weight in pixels.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self,
        kind: str = "ce_dice",
        ce_weight: float = 0.5,
        dice_weight: float = 0.5,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        tversky_alpha: float = 0.3,
        tversky_beta: float = 0.7,
        tversky_gamma: float = 0.75,
        boundary_weight: float = 0.0,
        boundary_px: int = 2,
        name: str = "segmentation_loss",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        # Labels pass through this dtype too; float32 holds every class index exactly.
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.kind = kind
        self.ce_weight = float(ce_weight)
        self.dice_weight = float(dice_weight)
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.label_smoothing = float(label_smoothing)
        self.focal_gamma = float(focal_gamma)
        self.tversky_alpha = float(tversky_alpha)
        self.tversky_beta = float(tversky_beta)
        self.tversky_gamma = float(tversky_gamma)
        self.boundary_weight = float(boundary_weight)
        self.boundary_px = int(boundary_px)
        self.cross_replica_sum: Callable[[Any], Any] = _identity
        """Sums a tensor over replicas. With it every replica gets the loss of the global batch,
        of which sums over pixels are taken; without it, the loss of its own part. The Lovasz
        term is always that of the own part."""
        self._check()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of the batch, float32 [1].

        The shape is [1] and not a scalar because Keras divides by the number of replicas only
        what it reduces itself.
        """
        classes = y_pred.shape[-1]
        self._check_classes(classes)
        labels = ops.cast(y_true, "int32")
        valid = ops.logical_and(labels >= 0, labels < classes)
        labels = ops.where(valid, labels, 0)
        valid_px = ops.cast(valid, "float32")
        truth = ops.one_hot(labels, classes, dtype="float32") * ops.expand_dims(valid_px, -1)
        logits = ops.cast(y_pred, "float32")
        # An ignored pixel may hold anything, even NaN, and NaN * 0 would be NaN.
        logits = ops.where(ops.expand_dims(valid, -1), logits, 0.0)
        pixel_term, region_term = LOSS_KINDS[self.kind]
        both = pixel_term is not None and region_term is not None
        loss = ops.zeros((), "float32")
        if pixel_term:
            term = self._pixel_loss(truth, logits, self._pixel_weights(labels, valid_px))
            loss = loss + (self.ce_weight if both else 1.0) * term
        if region_term:
            term = self._region_loss(region_term, truth, ops.softmax(logits, axis=-1), valid_px)
            loss = loss + (self.dice_weight if both else 1.0) * term
        return ops.reshape(loss, (1,))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {name: getattr(self, name) for name in _SETTINGS}

    def _pixel_loss(self, truth: Any, logits: Any, weights: Any) -> Any:
        """Returns sum(weight * loss) / sum(weight) over pixels."""
        log_probability = ops.log_softmax(logits, axis=-1)
        smoothing = self.label_smoothing
        target = truth * (1 - smoothing) + smoothing / truth.shape[-1]
        losses = -ops.sum(target * log_probability, axis=-1)
        if LOSS_KINDS[self.kind][0] == "focal" and self.focal_gamma:
            own_probability = ops.exp(ops.sum(truth * log_probability, axis=-1))
            # The power's slope is infinite at 0 for exponents below 1, so 0 is not reached.
            losses = losses * ops.power(ops.maximum(1 - own_probability, 1e-7), self.focal_gamma)
        total, weight = self._sums(losses * weights), self._sums(weights)
        return ops.where(weight > 0, total / ops.where(weight > 0, weight, 1.0), 0.0)

    def _pixel_weights(self, labels: Any, valid: Any) -> Any:
        """Returns the weight of each pixel, 0 where invalid, float32 [batch, height, width]."""
        weights = valid
        if self.class_weights is not None:
            table = ops.convert_to_tensor(self.class_weights, dtype="float32")
            weights = weights * ops.take(table, labels, axis=0)
        if self.boundary_weight:
            near = near_boundary(labels, valid, self.boundary_px)
            weights = weights * (1 + self.boundary_weight * near)
        return weights

    def _region_loss(self, term: str, truth: Any, probability: Any, valid: Any) -> Any:
        """Returns the mean over classes with valid pixels in the batch."""
        if term == "lovasz":
            # Sorting takes all pixels in one place: each replica takes those of its own part.
            present = ops.sum(truth, axis=(0, 1, 2)) > 0
            losses = _lovasz_losses(truth, probability, valid)
        else:
            present = self._sums(truth, keep_classes=True) > 0
            losses = self._overlap_losses(term, truth, probability, valid)
        count = ops.sum(ops.cast(present, "float32"))
        return ops.sum(ops.where(present, losses, 0.0)) / ops.maximum(count, 1.0)

    def _overlap_losses(self, term: str, truth: Any, probability: Any, valid: Any) -> Any:
        """Returns 1 - (TP + s) / (TP + alpha FP + beta FN + s) of each class over the batch.

        Dice is the case alpha = beta = 0.5. Sums run over the batch and not per image, because
        one patch rarely shows all classes.
        """
        alpha, beta = (0.5, 0.5) if term == "dice" else (self.tversky_alpha, self.tversky_beta)
        found = probability * ops.expand_dims(valid, -1)
        overlap = self._sums(truth * found, keep_classes=True)
        false_positive = self._sums(found, keep_classes=True) - overlap
        false_negative = self._sums(truth, keep_classes=True) - overlap
        index = (overlap + _SMOOTHING_PX) / (
            overlap + alpha * false_positive + beta * false_negative + _SMOOTHING_PX
        )
        if term == "focal_tversky":
            return ops.power(ops.maximum(1 - index, 1e-7), self.tversky_gamma)
        return 1 - index

    def _sums(self, values: Any, *, keep_classes: bool = False) -> Any:
        """Returns the sum over pixels of the batch, of all replicas where they are joined."""
        return self.cross_replica_sum(ops.sum(values, axis=(0, 1, 2) if keep_classes else None))

    def _check(self) -> None:
        if self.kind not in LOSS_KINDS:
            raise ConfigError(f"expected a loss of {', '.join(LOSS_KINDS)}; got {self.kind!r}")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        for name in ("ce_weight", "dice_weight", "focal_gamma", "boundary_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("tversky_alpha", "tversky_beta", "tversky_gamma", "boundary_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if self.class_weights is not None and not all(w >= 0 for w in self.class_weights):
            raise ConfigError(f"class weights must not be negative, got {self.class_weights}")

    def _check_classes(self, classes: int) -> None:
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ConfigError(
                f"expected {classes} class weights, one per class, got {len(self.class_weights)}"
            )


def near_boundary(labels: Any, valid: Any, reach_px: int) -> Any:
    """Returns 1 where another class lies within `reach_px` (rows, columns, diagonals), else 0.

    Args:
        labels: Dense labels, int32 [batch, height, width]; any class where invalid.
        valid: 1 where the label counts, float32 [batch, height, width]. Invalid pixels are of
            no class.
        reach_px: 1 marks the pixels on both sides of a boundary, 2 one more row, and so on.

    Returns:
        float32 [batch, height, width].
    """
    reach = [[0, 0], [reach_px, reach_px], [reach_px, reach_px]]

    def highest(values: Any) -> Any:
        # Padded here, because some backends take zeros for the rim.
        known = ops.pad(ops.where(valid > 0, values, _NO_CLASS), reach, constant_values=_NO_CLASS)
        return ops.max_pool(ops.expand_dims(known, -1), 2 * reach_px + 1, 1, "valid")[..., 0]

    classes = ops.cast(labels, "float32")
    return ops.cast(highest(classes) > -highest(-classes), "float32") * valid


def _lovasz_losses(truth: Any, probability: Any, valid: Any) -> Any:
    """Returns the Lovasz extension of 1 - IoU of each class (Berman et al. 2018), [classes].

    An ignored pixel gets error 0: sorted last, it changes neither the others' slopes nor the sum.
    """
    classes = truth.shape[-1]
    errors = ops.abs(truth - probability) * ops.expand_dims(valid, -1)
    errors = ops.transpose(ops.reshape(errors, (-1, classes)))
    truth = ops.transpose(ops.reshape(truth, (-1, classes)))
    order = ops.stop_gradient(ops.argsort(-errors, axis=-1))
    errors = ops.take_along_axis(errors, order, axis=-1)
    hit = ops.stop_gradient(ops.take_along_axis(truth, order, axis=-1))
    total = ops.sum(hit, axis=-1, keepdims=True)
    left = total - ops.cumsum(hit, axis=-1)
    union = total + ops.cumsum(1 - hit, axis=-1)
    jaccard = 1 - left / ops.maximum(union, 1.0)
    slopes = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=-1)
    return ops.sum(errors * slopes, axis=-1)


def _identity(value: Any) -> Any:
    return value
