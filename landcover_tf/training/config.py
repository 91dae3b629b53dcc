"""The settings of a training run; importing them imports neither TensorFlow nor Keras."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import flag_ranges
from landcover_tf.configs.config_parts import part
from landcover_tf.datasets.normalizer import NormalizerKind
from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline.augmentation_settings import check_name
from landcover_tf.loss_settings import LOSS_KINDS, LossKind, LossSettings
from landcover_tf.model_spec import SIZE_MULTIPLE, check_unet
from landcover_tf.training.class_weights import check_given
from landcover_tf.training.schedules import ScheduleKind

Precision = Literal["auto", "float32", "float16", "bfloat16"]
Switch = Literal["auto", "on", "off"]

LARGEST_SEED = 2**32 - 2
"""NumPy takes seeds of 32 bits, and training begins with the next one."""

# What may change between the interrupted and the continued run: none of it changes a weight.
FREE_FIELDS = frozenset({
    "data_dir", "output_dir", "checkpoint_minutes", "tensorboard", "pictures",
    "histograms_every", "profile_steps", "learning_curves",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Trains the U-Net on built shards and writes a run folder. The same command continues an
    interrupted run at the very step where it stopped. A frozen encoder (--encoder-lr-factor 0)
    only makes sense with pretrained weights."""

    data_dir: Path
    """Dataset: the output folder of `landcover build`."""
    output_dir: Path
    """Run folder to write or to continue."""

    model: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    """Encoder of the U-Net."""
    encoder_weights: str = "sentinel2-moco"
    """sentinel2-moco, sentinel2-dino, sentinel2-decur, sentinel2-softcon, imagenet, none, or a
    .pth, .safetensors or .weights.h5 file."""
    encoder_depth: int = 5
    """Stages of the encoder that are used, 2 to 5, each of which halves the image. Fewer see
    less context and have far fewer weights, which helps where training areas are few."""
    skip_connections: int = 4
    """Encoder levels joined to the decoder, 0 to 5: 1/16, 1/8, 1/4, 1/2, then the input. A shallow
    encoder lacks the first ones: at --encoder-depth 2, up to 3 join none and 4 only 1/2."""
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Channels of the decoder's five levels, from coarse to fine; of a shallow encoder the last
    of them."""
    local_statistics: tuple[int, ...] = ()
    """Widths of windows in pixels, odd, such as 5 11: the means and standard deviations of the
    image in them join the input's skip, which --skip-connections 5 has. They help where training
    areas are few."""
    normalizer: NormalizerKind | None = None
    """How reflectance is scaled for the network; by default as the dataset says. Pretrained
    weights are adapted to it."""

    batch_size: int = 8
    """Patches per step, of all devices together."""
    epochs: int = 50
    """Passes over the training split."""
    patch_size: int = 256
    """Patch height and width in pixels, a multiple of 32; smaller than the dataset's cuts them."""
    patch_overlap: int | None = None
    """Pixels that patches cut from one record share; by default the dataset's own for whole
    records and none for smaller patches."""
    augmentation: str = "standard"
    """How training patches are varied: none, light, standard, strong, or a .toml or .json file of
    single settings, see docs/training.md."""
    oversampling: float = 0.0
    """Repeat records, the dataset's patches, with classes that fewer than this share of them have;
    0 is off. All cuts of a record are repeated, also those without the class."""

    lr: float = 5e-4
    """Peak learning rate."""
    encoder_lr_factor: float | None = None
    """Factor on the encoder's learning rate; 0 freezes it, batch statistics included. By default
    0.1 with pretrained weights and 1 with random ones."""
    allow_frozen_random_encoder: bool = False
    """Accept --encoder-lr-factor 0 with random weights: a frozen encoder never learns."""
    unfreeze_every: int = 0
    """Start with a frozen encoder and free its next stage, deepest first, after every this many
    epochs; 0 trains all from the start."""
    optimizer: Literal["adamw", "sgd", "lion", "muon"] = "adamw"
    """Optimizer; for lion, divide the learning rate by about ten. muon makes the steps of kernels
    orthogonal and takes AdamW's learning rate."""
    weight_decay: float = 0.01
    """Decoupled weight decay of kernels."""
    schedule: ScheduleKind = "one-cycle"
    """How the learning rate changes from step to step."""
    warmup_fraction: float = 0.15
    """Share of the steps over which the learning rate rises."""
    final_lr_factor: float = 1e-3
    """Factor on the learning rate at the last step."""
    plateau_patience: int = 5
    """Epochs without improvement before the plateau schedule lowers the rate."""
    plateau_factor: float = 0.3
    """Factor of each such drop."""
    gradient_accumulation: int = 1
    """Batches whose gradients are averaged before a step, in the memory of one. Loss and batch
    statistics are each batch's own, so the step resembles that of the larger batch."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""
    ema_decay: float = 0.0
    """Decay of an average of the weights, such as 0.99, which is then evaluated and kept instead
    of the weights themselves; 0 is off."""

    loss: LossKind = "ce_dice"
    """Loss over labelled, usable pixels."""
    ce_weight: float = 0.5
    """Weight of the pixel term in a sum of two."""
    dice_weight: float = 0.5
    """Weight of the region term in a sum of two."""
    class_weights: Literal["auto", "none", "effective-number"] | tuple[float, ...] = "auto"
    """Weights of classes in the pixel term: auto (square root of inverse frequency, at most 10
    times), none, effective-number, or one number per class of the legend. Losses without a pixel
    term (dice, tversky, focal_tversky, lovasz) take none."""
    label_smoothing: float = 0.0
    """Share of the target of the pixel term spread over all classes."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss."""
    tversky_alpha: float = 0.3
    """Weight of false positives in the Tversky losses."""
    tversky_beta: float = 0.7
    """Weight of false negatives in the Tversky losses."""
    tversky_gamma: float = 0.75
    """Exponent of focal Tversky."""
    boundary_weight: float = 0.0
    """Additional weight of pixels near a class boundary in the pixel term."""
    boundary_px: int = 2
    """Reach of the boundary weight in pixels."""

    monitor: Literal["mean_iou", "mean_f1", "overall_accuracy", "loss"] = "mean_iou"
    """Validation score by which the best epoch is chosen."""
    early_stopping: int = 0
    """Stop after this many epochs without improvement; 0 never does."""
    mixed_precision: Precision = "auto"
    """Number format of the computation; auto takes float16 on GPUs and float32 on CPUs."""
    jit: Switch = "auto"
    """Compile the step with XLA; auto does on a single GPU, never on CPUs."""
    strategy: Literal["auto", "single", "mirrored", "multi-worker"] = "auto"
    """Devices: auto takes several hosts if TF_CONFIG names them, else all GPUs of this one."""
    seed: int = 0
    """Decides initial weights, shuffling and augmentation."""
    deterministic: bool = False
    """Use only operations that repeat to the last bit; slower on GPUs."""

    checkpoint_minutes: float = 5.0
    """Within an epoch, save the state this often; it is also saved after every epoch."""
    tensorboard: bool = True
    """Write TensorBoard logs."""
    pictures: int = 3
    """Validation patches drawn with their prediction into TensorBoard."""
    histograms_every: int = 0
    """Write histograms of all weights every this many epochs; 0 never does."""
    profile_steps: tuple[int, ...] = ()
    """First and last step to record with the TensorFlow profiler, counted from 0 since this
    process began, also where it continues a run."""
    learning_curves: bool = True
    """Draw learning_curves.png after the training."""

    def __post_init__(self) -> None:
        flag_ranges.lists_to_tuples(self)
        flag_ranges.chosen(self)
        if not isinstance(self.class_weights, str):
            check_given(self.class_weights)
        flag_ranges.at_least(
            self, 1, "batch_size", "epochs", "gradient_accumulation", "plateau_patience"
        )
        flag_ranges.above_zero(self, "lr")
        flag_ranges.at_least(
            self, 0, "weight_decay", "clip_norm", "early_stopping", "unfreeze_every",
            "encoder_lr_factor", "checkpoint_minutes", "pictures", "histograms_every", "seed",
            "oversampling",
        )  # fmt: skip
        flag_ranges.within(self, 0, LARGEST_SEED, "seed")
        if self.patch_size < SIZE_MULTIPLE or self.patch_size % SIZE_MULTIPLE:
            raise ConfigError(
                f"--patch-size must be a multiple of {SIZE_MULTIPLE}, because the encoder halves "
                f"the image five times; got {self.patch_size}"
            )
        check_unet(self)
        flag_ranges.within(self, 0, 1, "ema_decay", "warmup_fraction", ends="[)")
        flag_ranges.within(self, 0, 1, "final_lr_factor", "plateau_factor")
        steps = self.profile_steps
        if steps and not (len(steps) == 2 and 0 <= steps[0] <= steps[1]):
            raise ConfigError(
                "--profile-steps expects the first and the last step, counted from 0, got "
                f"{' '.join(map(str, steps))}"
            )
        check_name(self.augmentation)
        self.loss_settings(class_weights=None)  # They check themselves.
        self._check_encoder()

    @property
    def pretrained(self) -> bool:
        """Whether the encoder starts from pretrained weights."""
        return self.encoder_weights != "none"

    @property
    def encoder_factor(self) -> float:
        """Factor on the encoder's learning rate, with the default put in."""
        if self.encoder_lr_factor is not None:
            return self.encoder_lr_factor
        return 0.1 if self.pretrained else 1.0

    def trainable_stages(self, epoch: int) -> int:
        """Returns how many stages of the encoder, from the deepest, train in an epoch (from 0)."""
        if self.encoder_factor == 0:
            return 0
        stages = self.encoder_depth
        return min(epoch // self.unfreeze_every, stages) if self.unfreeze_every else stages

    def loss_settings(self, class_weights: tuple[float, ...] | None) -> LossSettings:
        """Returns what the loss is made of, with the weight of each class."""
        return part(LossSettings, self, kind=self.loss, class_weights=class_weights)

    @property
    def pixel_term(self) -> bool:
        """Whether the loss has a term per pixel that counts, which class weights act on."""
        term, region_term = LOSS_KINDS[self.loss]
        return term is not None and (region_term is None or self.ce_weight > 0)

    def _check_encoder(self) -> None:
        frozen = self.encoder_factor == 0
        if frozen and self.unfreeze_every:
            raise ConfigError(
                "--unfreeze-every needs --encoder-lr-factor above 0: with 0 the encoder stays "
                "frozen"
            )
        if frozen and not self.pretrained and not self.allow_frozen_random_encoder:
            raise ConfigError(
                "--encoder-lr-factor 0 freezes the encoder, and with --encoder-weights none its "
                "weights are random and would stay so; give pretrained weights, a factor above "
                "0, or --allow-frozen-random-encoder"
            )
