"""What a preparation is told; plain values that travel to worker processes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from landcover_tf.sentinel2.checks import Finding
from landcover_tf.sentinel2.clouds import CloudSource
from landcover_tf.upsampling import Resampling, Sharpening


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How products become prepared scenes."""

    resampling: Resampling = "bicubic"
    sharpening: Sharpening = "none"
    cloud_source: CloudSource = "product"
    cloud_mask: Path | None = None
    cloud_mask_values: tuple[str, ...] = ("0=clear", "1=cloud", "2=cirrus", "3=shadow")
    cloud_buffer_m: float = 250.0
    cloud_shadows: bool = True
    shadow_nir_reflectance: float = 0.15
    s2cloudless_resolution_m: int = 120
    ground_truth: Path | None = None
    source_legend: str = "landcover9"
    legend: str = "landcover9"
    unknown_labels: Literal["error", "ignore"] = "error"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v
            for k, v in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Job:
    """One product to prepare; travels to a worker process."""

    product: Path
    output_dir: Path
    settings: Settings
    findings: tuple[Finding, ...] = ()
    """What the checks said about the product, kept in scene.json."""
    overwrite: bool = False
    """Whether a finished scene is replaced."""
    threads: int = 2
