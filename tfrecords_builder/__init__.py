"""Builds sharded TFRecord datasets from prepared scenes and raster pairs."""

from typing import TYPE_CHECKING

from landcover_tf.system.lazy_names import getter

if TYPE_CHECKING:
    from tfrecords_builder.audit import audit_dataset as audit_dataset
    from tfrecords_builder.config import BuildConfig as BuildConfig
    from tfrecords_builder.pipeline import build as build
    from tfrecords_builder.validate import validate_dataset as validate_dataset

_MODULES = {
    "BuildConfig": "config",
    "audit_dataset": "audit",
    "build": "pipeline",
    "validate_dataset": "validate",
}

__all__ = list(_MODULES)

__getattr__ = getter(__name__, _MODULES)


def __dir__() -> list[str]:
    return list(__all__)
