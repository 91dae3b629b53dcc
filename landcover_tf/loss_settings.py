"""What a segmentation loss is made of; importing it imports neither TensorFlow nor Keras."""

from dataclasses import dataclass
from typing import Literal

from landcover_tf.errors import ConfigError

LossKind = Literal[
    "ce", "focal", "dice", "tversky", "focal_tversky", "lovasz",
    "ce_dice", "ce_tversky", "ce_lovasz", "focal_dice",
]  # fmt: skip
LOSS_KINDS: dict[LossKind, tuple[str | None, str | None]] = {
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


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The settings of a `SegmentationLoss`.

    Raises:
        ConfigError: A value is out of range.
    """

    kind: LossKind
    ce_weight: float
    """Factor of the pixel term where there are two terms."""
    dice_weight: float
    """Factor of the region term where there are two terms."""
    class_weights: tuple[float, ...] | None
    """Weight of each class in the pixel term; None weighs all equally. The region terms take no
    weights: they already count every class equally, however rare."""
    label_smoothing: float
    """Share of the pixel term's target spread evenly over all classes, in [0, 1)."""
    focal_gamma: float
    """Exponent of (1 - p) in the focal term (Lin et al. 2017); 0 is cross-entropy."""
    tversky_alpha: float
    """Weight of false positives (Salehi et al. 2017)."""
    tversky_beta: float
    """Weight of false negatives; above alpha, a rare class is found more often."""
    tversky_gamma: float
    """Exponent of (1 - index) in focal-Tversky (Abraham and Khan 2019)."""
    boundary_weight: float
    """A pixel within `boundary_px` of another class weighs 1 + this in the pixel term. Borders
    are where maps err; 0 leaves all pixels equal."""
    boundary_px: int
    """Reach of the boundary weight in pixels."""

    def __post_init__(self) -> None:
        if self.kind not in LOSS_KINDS:
            raise ConfigError(f"expected a loss of {', '.join(LOSS_KINDS)}; got {self.kind!r}")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        for name in ("ce_weight", "dice_weight", "focal_gamma", "boundary_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        if all(LOSS_KINDS[self.kind]) and not self.ce_weight + self.dice_weight:
            raise ConfigError(
                f"ce_weight or dice_weight must be positive for the loss {self.kind}, which is 0 "
                "otherwise"
            )
        for name in ("tversky_alpha", "tversky_beta", "tversky_gamma", "boundary_px"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if self.class_weights is not None and not all(w >= 0 for w in self.class_weights):
            raise ConfigError(f"class weights must not be negative, got {self.class_weights}")
