"""From the config to a network, its loss, and the stepper that trains it."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from landcover_tf.configs.config_parts import part
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError
from landcover_tf.losses import SegmentationLoss
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.unet import build_unet, encoder_stages, freeze_encoder
from landcover_tf.models.weights import LoadedWeights, load_encoder_weights
from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.run_folder import RunFolder
from landcover_tf.training.class_weights import class_weights
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices
from landcover_tf.training.precision import choose_jit, choose_precision, dtype_policy
from landcover_tf.training.steps import Stepper


@dataclass(frozen=True, kw_only=True)
class Built:
    """A network ready to be trained."""

    stepper: Stepper
    spec: ModelSpec
    precision: str
    jit: bool
    class_weights: tuple[float, ...] | None
    encoder_weights: str
    """What was loaded into the encoder, for people."""
    pretrained: LoadedWeights | None = None
    """The same for the run's record; None for random weights and those about to be restored."""


def build(config: TrainConfig, info: DatasetInfo, devices: Devices, *, resume: bool) -> Built:
    """Returns the network, with pretrained encoder weights unless it is about to be restored.

    Args:
        config: Settings of the run.
        info: Its dataset.
        devices: What trains together.
        resume: Whether the network is about to be restored; it is then the one that the run folder
            describes.

    Raises:
        ConfigError: Settings exclude each other.
        DatasetError: The dataset is not what the normalizer is for.
        ModelError: The pretrained weights are absent or do not fit, or the run's `model_spec.json`
            cannot be read.
    """
    precision = choose_precision(config.mixed_precision)
    jit = _jit(config, devices)
    if config.batch_size % devices.replicas:
        raise ConfigError(
            f"--batch-size {config.batch_size} must be a multiple of the {devices.replicas} "
            "devices that train together"
        )
    # A dataset whose statistics were computed anew has the same hash, and would give the normalizer
    # other values than those that the weights were trained with.
    begun = RunFolder(config.output_dir).model_spec
    spec = ModelSpec.load(begun) if resume else model_spec(config, info)
    weights = _class_weights(config, info)
    loaded = "random"
    found: LoadedWeights | None = None
    with devices.strategy.scope():
        with dtype_policy(precision):
            model = build_unet(spec, synchronized=devices.replicas > 1)
        if config.pretrained and not resume:
            found = load_encoder_weights(model, config.encoder_weights, spec.band_names)
            loaded = found.summary if found else "random"
        elif config.pretrained:
            loaded = config.encoder_weights
        freeze_encoder(model, trainable_stages=config.trainable_stages(0))
        optimizer = build_optimizer(config, model, scale_loss=precision == "float16")
        stepper = Stepper(
            model,
            join_replicas(SegmentationLoss(config.loss_settings(weights)), devices),
            optimizer,
            strategy=devices.strategy,
            clip_norm=config.clip_norm,
            accumulation=config.gradient_accumulation,
            ema_decay=config.ema_decay,
            jit=jit,
        )
    return Built(
        stepper=stepper,
        spec=spec,
        precision=precision,
        jit=jit,
        class_weights=weights,
        encoder_weights=loaded,
        pretrained=found,
    )


def model_spec(config: TrainConfig, info: DatasetInfo) -> ModelSpec:
    """Returns the network that the config and the dataset's bands and legend ask for."""
    normalizer = info.normalizer
    if config.normalizer is not None and config.normalizer != normalizer.kind:
        normalizer = Normalizer.fit(config.normalizer, info.statistics, info.scale, info.offset)
    return part(
        ModelSpec,
        config,
        encoder=config.model,
        band_names=info.band_names,
        class_codes=info.legend.codes,
        normalizer=normalizer,
    )


def build_optimizer(
    config: TrainConfig, model: keras.Model, *, scale_loss: bool
) -> PartedOptimizer:
    """Returns the optimizer with one part for the decoder and for the encoder one, or one per
    stage."""
    stage_of_layer = {
        layer: f"encoder_{stage}" if config.unfreeze_every else "encoder"
        for stage, layers in encoder_stages(model).items()
        for layer in layers
    }
    factors = {"decoder": 1.0}
    if config.encoder_factor:
        factors |= dict.fromkeys(stage_of_layer.values(), config.encoder_factor)
    return PartedOptimizer(
        config.optimizer,
        weight_decay=config.weight_decay,
        # A variable's path ends in layer/variable.
        part_of=lambda v: stage_of_layer.get(v.path.split("/")[-2], "decoder"),
        factors=factors,
        scale_loss=scale_loss,
    )


def _class_weights(config: TrainConfig, info: DatasetInfo) -> tuple[float, ...] | None:
    if not config.pixel_term:
        return None
    return class_weights(config.class_weights, info.class_counts("train").tolist())


def join_replicas(loss: SegmentationLoss, devices: Devices) -> SegmentationLoss:
    """Returns `loss`, summing over the pixels of all devices that train together."""
    if devices.replicas > 1:
        loss.cross_replica_sum = lambda value: tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, value
        )
    return loss


def _jit(config: TrainConfig, devices: Devices) -> bool:
    if devices.replicas == 1:
        return choose_jit(config.jit)
    if config.jit == "on":
        raise ConfigError(
            f"--jit on is not supported together with {devices.replicas} devices: TensorFlow "
            "cannot compile the exchange between them; use --jit off"
        )
    return False
