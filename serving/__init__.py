"""Class maps from trained models: local, tiled prediction and TensorFlow Serving."""

from typing import TYPE_CHECKING

from landcover_tf.system.lazy_names import getter

if TYPE_CHECKING:
    from serving.config import PredictConfig as PredictConfig
    from serving.many_scenes import predict_all as predict_all

_MODULES = {
    "PredictConfig": "config",
    "predict_all": "many_scenes",
}

__all__ = list(_MODULES)

__getattr__ = getter(__name__, _MODULES)


def __dir__() -> list[str]:
    return list(__all__)
