"""`model.json`: what an exported model takes, answers and promises."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import ConfigError, ModelError
from landcover_tf.legend import Legend
from landcover_tf.system.files import read_json, write_json
from landcover_tf.upsampling import Upsampling

SCHEMA_VERSION = 2
FILE_NAME = "model.json"
DECIDING_FIELDS = (
    "weights_sha256",
    "bands",
    "dtype",
    "nodata",
    "resolution_m",
    "upsampling",
    "normalizer",
    "calibration",
    "class_codes",
    "legend",
)
"""What of `ModelInfo` decides the map that a raster gets."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What makes a softmax of logits a probability: logits * scale + bias.

    Both hold one number per class, or a single one for all; the default changes nothing.
    """

    method: str = "none"
    """How it was fitted: none, temperature or vector."""
    scale: tuple[float, ...] = (1.0,)
    bias: tuple[float, ...] = (0.0,)

    def check_classes(self, count: int) -> None:
        """Raises ValueError unless the numbers are one for all or one for each of `count`."""
        if not {len(self.scale), len(self.bias)} <= {1, count}:
            raise ValueError(
                f"the calibration has {len(self.scale)} factors and {len(self.bias)} offsets for "
                f"{count} classes"
            )

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated logits, float32 [..., classes]."""
        scale, bias = np.array(self.scale, np.float32), np.array(self.bias, np.float32)
        return np.asarray(logits * scale + bias)

    def __str__(self) -> str:
        if self.method == "temperature":
            return f"temperature {1 / self.scale[0]:.3g}"
        return {"none": "none", "vector": "vector scaling"}.get(self.method, self.method)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibration":
        """Returns the calibration in a JSON object with `method`, `scale` and `bias`.

        Raises:
            KeyError, TypeError, ValueError: It is malformed.
        """
        numbers = {k: tuple(float(v) for v in values[k]) for k in ("scale", "bias")}
        if (
            not all(numbers.values())
            or not np.isfinite([*numbers["scale"], *numbers["bias"]]).all()
        ):
            raise ValueError("scale and bias must hold finite numbers")
        return Calibration(method=str(values["method"]), **numbers)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The contract of an exported model."""

    name: str
    version: int
    bands: tuple[BandInfo, ...]
    """Input channels in order: reflectance = stored * scale + offset."""
    dtype: str
    """Dtype of the `image` input, as stored."""
    nodata: float
    """Stored value that marks pixels without data when all bands hold it."""
    resolution_m: float | None
    upsampling: Upsampling | None = None
    """How the coarse bands of the training scenes came to 10 m; None where nothing tells."""
    legend: Legend
    class_codes: tuple[int, ...]
    """Legend code of each probability channel, in order."""
    patch_size: int
    """Patch size of training, in pixels."""
    size_multiple: int
    """Height and width of an input must be multiples of this."""
    receptive_field_px: int
    margin_px: int
    """Context that makes a cropped prediction equal the untiled one."""
    calibration: Calibration = Calibration()
    """Applied to the logits before the softmax."""
    encoder: str = ""
    encoder_depth: int = 5
    """Stages of the encoder that the network has."""
    normalizer: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Band statistics of the training pixels, for drift checks."""
    class_fractions: Mapping[str, float] = field(default_factory=dict)
    """Share of each legend code among the training pixels."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Validation scores of the kept epoch."""
    test_scores: Mapping[str, Any] = field(default_factory=dict)
    """How much of the test split was scored before the export, and the totals of network and
    baseline with their intervals; empty where nothing was."""
    pretrained: Mapping[str, str] | None = None
    """Name, url, sha256 and license of the weights that the encoder began with; None for random
    ones."""
    data_hash: str = ""
    weights_sha256: str = ""
    signatures: tuple[str, ...] = ("serving_default", "classify", "predict_bytes", "describe")
    software: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def band_names(self) -> tuple[str, ...]:
        """Input band names in order."""
        return tuple(band.name for band in self.bands)

    @property
    def usual_range(self) -> np.ndarray | None:
        """As `DatasetInfo.usual_range`, of the training data; None where the model lacks it."""
        known = BandStatistics.from_dict(self.statistics) if self.statistics else None
        if known is None or not known.count:
            return None
        scale, offset = np.array([(band.scale, band.offset) for band in self.bands]).T
        return np.asarray(np.stack([known.percentile(q) for q in (2, 98)]) * scale + offset)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides what the model answers and what its maps look like.

        Weights alone do not: the same ones give other confidences with another calibration.
        """
        known = self.to_dict()
        values = {name: known[name] for name in DECIDING_FIELDS}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def encoder_title(self) -> str:
        """The encoder for people, with its stages where it lacks some; empty if not known."""
        lacking = self.encoder and self.encoder_depth < 5
        return f"{self.encoder} of {self.encoder_depth} stages" if lacking else self.encoder

    def save(self, folder: str | Path) -> None:
        """Writes `model.json` into an export's version folder."""
        write_json(Path(folder) / FILE_NAME, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self) | {"legend": self.legend.to_dict()}

    @staticmethod
    def load(folder: str | Path) -> "ModelInfo":
        """Returns the contract of the export in a version folder.

        Raises:
            ModelError: It is missing, malformed, or of another schema version.
        """
        path = Path(folder) / FILE_NAME
        try:
            values = read_json(path)
            version = values.get("schema_version")
            if version != SCHEMA_VERSION:
                raise ModelError(
                    f"{path} has schema version {version}, this software reads {SCHEMA_VERSION}; "
                    "export the run again"
                )
            values["legend"] = Legend.from_dict(values["legend"])
            values["calibration"] = Calibration.from_dict(values["calibration"])
            values["calibration"].check_classes(len(values["class_codes"]))
            values["upsampling"] = Upsampling.from_dict(values["upsampling"])
            values["bands"] = tuple(BandInfo(**band) for band in values["bands"])
            for name in ("class_codes", "signatures"):
                values[name] = tuple(values[name])
            return ModelInfo(**values)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise ModelError(f"{path} is not a model description: {error}") from error


def find_export(path: str | Path) -> Path:
    """Returns the version folder of an export: `path` itself or its highest version.

    Raises:
        ModelError: There is no export.
    """
    path = Path(path)
    if (path / FILE_NAME).is_file():
        return path
    versions = [p for p in path.glob("*") if p.name.isdigit() and (p / FILE_NAME).is_file()] or [
        # One level further: the folder that holds one named model.
        p
        for p in path.glob("*/*")
        if p.name.isdigit() and (p / FILE_NAME).is_file()
    ]
    if len({p.parent for p in versions}) > 1:
        names = ", ".join(sorted({p.parent.name for p in versions}))
        raise ModelError(f"{path} holds several models ({names}); name one of them")
    if not versions:
        raise ModelError(
            f"{path} holds no exported model; expected a folder written by landcover export"
        )
    return max(versions, key=lambda p: int(p.name))
