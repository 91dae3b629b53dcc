"""Settings of `landcover report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from landcover_tf.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write one self-contained HTML page about a run, its scores and its map."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Finished run folder; also as --run-dir."""
    output: Path | None = None
    """HTML file; report.html in the run folder by default. The tiles of a large map go into a
    folder beside it."""
    split: str = "test"
    """Split whose evaluation is shown; for another dataset than that of the training, the name of
    the folder in RUN_DIR/evaluation."""
    map: Path | None = None
    """Class map to show in the viewer."""
    image: Path | None = None
    """Raster with named bands shown under the map, for example image.tif of a prepared scene."""
    confidence: Path | None = None
    """Confidence raster; by default what landcover predict has put beside the map:
    confidence.tif of map.tif, NAME_confidence.tif of NAME.tif."""
    probabilities: Path | None = None
    """Raster with one band a class, for the pixel inspector; looked for as the confidence."""
    reference_map: Path | None = None
    """Label raster to compare with, in the run's legend."""
    assessment: tuple[Path, ...] = ()
    """estimate.json and compare.json of `landcover assess`, to be shown before the scores."""

    def __post_init__(self) -> None:
        for name in ("image", "confidence", "probabilities", "reference_map"):
            if getattr(self, name) is not None and self.map is None:
                raise ConfigError(f"--{name.replace('_', '-')} is drawn over a map; give --map too")
