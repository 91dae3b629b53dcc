"""Settings of a preparation: plain values that travel to worker processes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from landcover_tf.crosswalk import Crosswalk, load_crosswalk
from landcover_tf.legend import DEFAULT_LEGEND
from landcover_tf.sentinel2.checks import Finding
from landcover_tf.sentinel2.clouds import CloudSource
from landcover_tf.sentinel2.label_rasters import LabelRaster
from landcover_tf.upsampling import Resampling, Sharpening


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How products become prepared scenes; see `landcover_tf.prepare.PrepareConfig`."""

    resampling: Resampling
    sharpening: Sharpening
    cloud_source: CloudSource
    cloud_mask: Path | None
    cloud_mask_values: tuple[str, ...]
    cloud_buffer_m: float
    cloud_shadows: bool
    shadow_nir_reflectance: float
    s2cloudless_resolution_m: Literal[60, 120]
    ground_truth: Path | None
    source_legend: str | None
    """The one that the label rasters name where it is None, see `batch.run`."""
    legend: str
    unknown_labels: Literal["error", "ignore"]

    def load_crosswalk(self) -> Crosswalk:
        """Returns the way from the codes of the label rasters to those of the prepared labels.

        Raises:
            LegendError: A legend cannot be read, or there is no way between them.
        """
        return load_crosswalk(self.source_legend or DEFAULT_LEGEND, self.legend)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v
            for k, v in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a batch runs; nothing here changes a scene's pixels."""

    checksums: bool
    check_only: bool
    keep_going: bool
    overwrite: bool
    jobs: int
    scheduler: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One product to prepare; travels to a worker process."""

    product: Path
    output_dir: Path
    settings: Settings
    labels: tuple[LabelRaster, ...] = ()
    """The label rasters of `settings.ground_truth` to use for the product."""
    findings: tuple[Finding, ...] = ()
    """What the checks said about the product, kept in scene.json."""
    overwrite: bool = False
    """Whether a finished scene is replaced."""
    threads: int = 2
    needed_bytes: int = 0
    """Disk space that the scene takes at most, for a batch to reserve."""
