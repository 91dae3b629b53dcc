"""Land-cover mapping from Sentinel-2 Level-1C: the library.

The names below are for programs and notebooks; each is imported when it is asked for. The modules
of the same words, such as `landcover_tf.train`, are the entries of the commands.
"""

import os
from typing import TYPE_CHECKING

from landcover_tf.system.lazy_names import getter

if TYPE_CHECKING:
    from landcover_tf.assess.compare import CompareConfig as CompareConfig
    from landcover_tf.assess.compare import compare_maps as compare_maps
    from landcover_tf.assess.design import DesignConfig as DesignConfig
    from landcover_tf.assess.design import draw_points as draw_points
    from landcover_tf.assess.estimate import EstimateConfig as EstimateConfig
    from landcover_tf.assess.estimate import estimate_accuracy as estimate_accuracy
    from landcover_tf.datasets.dataset_info import DatasetInfo as DatasetInfo
    from landcover_tf.errors import LandCoverError as LandCoverError
    from landcover_tf.evaluate import EvaluateConfig as EvaluateConfig
    from landcover_tf.evaluate import evaluate_model as evaluate_model
    from landcover_tf.export import ExportConfig as ExportConfig
    from landcover_tf.export import export_model as export_model
    from landcover_tf.legend import load_legend as load_legend
    from landcover_tf.model_info import ModelInfo as ModelInfo
    from landcover_tf.monitor import MonitorConfig as MonitorConfig
    from landcover_tf.monitor import monitor_maps as monitor_maps
    from landcover_tf.prepare import PrepareConfig as PrepareConfig
    from landcover_tf.prepare import prepare_scenes as prepare_scenes
    from landcover_tf.rasterize import RasterizeConfig as RasterizeConfig
    from landcover_tf.rasterize import rasterize_polygons as rasterize_polygons
    from landcover_tf.report.config import ReportConfig as ReportConfig
    from landcover_tf.report.writing import write_report as write_report
    from landcover_tf.run_folder import RunFolder as RunFolder
    from landcover_tf.sentinel2.fetch_config import FetchConfig as FetchConfig
    from landcover_tf.sentinel2.fetching import fetch_products as fetch_products
    from landcover_tf.simulate import SimulateConfig as SimulateConfig
    from landcover_tf.simulate import simulate_products as simulate_products
    from landcover_tf.train import train_model as train_model
    from landcover_tf.trained_model import load_model as load_model
    from landcover_tf.training.config import TrainConfig as TrainConfig

# NumPy reads it when it is first imported, and worker processes inherit it. Huge pages are slow to
# touch first where a virtual machine gives freed memory back to its host: `prepare` of a full tile
# took 13 s of system time with them, 8 s without.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

_MODULES = {
    "CompareConfig": "assess.compare",
    "DatasetInfo": "datasets.dataset_info",
    "DesignConfig": "assess.design",
    "EstimateConfig": "assess.estimate",
    "EvaluateConfig": "evaluate",
    "ExportConfig": "export",
    "FetchConfig": "sentinel2.fetch_config",
    "LandCoverError": "errors",
    "ModelInfo": "model_info",
    "MonitorConfig": "monitor",
    "PrepareConfig": "prepare",
    "RasterizeConfig": "rasterize",
    "ReportConfig": "report.config",
    "RunFolder": "run_folder",
    "SimulateConfig": "simulate",
    "TrainConfig": "training.config",
    "compare_maps": "assess.compare",
    "draw_points": "assess.design",
    "estimate_accuracy": "assess.estimate",
    "evaluate_model": "evaluate",
    "export_model": "export",
    "fetch_products": "sentinel2.fetching",
    "load_legend": "legend",
    "load_model": "trained_model",
    "monitor_maps": "monitor",
    "prepare_scenes": "prepare",
    "rasterize_polygons": "rasterize",
    "simulate_products": "simulate",
    "train_model": "train",
    "write_report": "report.writing",
}

__all__ = list(_MODULES)

__getattr__ = getter(__name__, _MODULES)


def __dir__() -> list[str]:
    return list(__all__)
