"""Choices that stand twice, so that the program that offers them starts without a heavy import."""

from collections.abc import Iterable
from typing import get_args, get_type_hints

import pytest

from landcover_tf.accuracy.baseline import BaselineKind
from landcover_tf.accuracy.sampling import Allocation
from landcover_tf.assess.design import DesignConfig
from landcover_tf.evaluate import EvaluateConfig
from landcover_tf.evaluation.run_calibration import CalibrationMethod
from landcover_tf.export import ExportConfig
from landcover_tf.exporting.model_formats import WRITERS
from landcover_tf.loss_settings import LOSS_KINDS
from landcover_tf.models.resnet import ARCHITECTURES
from landcover_tf.optimizers import OptimizerKind
from landcover_tf.prepare import PrepareConfig
from landcover_tf.sentinel2.clouds import CloudSource
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import StrategyKind


@pytest.mark.parametrize(
    ("config", "field", "known"),
    [
        (DesignConfig, "allocation", get_args(Allocation)),
        (EvaluateConfig, "baseline", (*get_args(BaselineKind), "none")),
        (EvaluateConfig, "calibration", get_args(CalibrationMethod)),
        (ExportConfig, "format", WRITERS),
        (PrepareConfig, "cloud_source", get_args(CloudSource)),
        (TrainConfig, "loss", LOSS_KINDS),
        (TrainConfig, "model", ARCHITECTURES),
        (TrainConfig, "optimizer", get_args(OptimizerKind)),
        (TrainConfig, "strategy", get_args(StrategyKind)),
    ],
)
def test_a_program_offers_what_the_library_knows(
    config: type, field: str, known: Iterable[str]
) -> None:
    offered = get_type_hints(config)[field]
    if field == "format":  # Several may be chosen.
        offered = get_args(offered)[0]
    assert sorted(get_args(offered)) == sorted(known)
