"""The program `landcover prepare`: products and ground truth become prepared scenes."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.configs.config_parts import part
from landcover_tf.errors import ConfigError
from landcover_tf.legend import DEFAULT_LEGEND
from landcover_tf.upsampling import Resampling, Sharpening

if TYPE_CHECKING:
    from landcover_tf.sentinel2.batch import Batch


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Prepare Sentinel-2 Level-1C products: 13 bands at 10 m, validity bits, aligned labels.

    Every product is checked first and all problems are listed together. Each good product
    becomes a folder in the output directory; finished ones are skipped, so an interrupted run
    continues where it stopped.
    """

    sentinel2_dir: Path
    """A SAFE folder, a .zip of one, or a folder that holds several of either."""
    output_dir: Path
    """Folder for the prepared scenes, one per product."""
    ground_truth: Path | None = None
    """Label raster, or a folder of them, any CRS and resolution; PRODUCT_NAME.tif is used alone,
    others are mosaicked."""
    source_legend: str | None = None
    """Legend of the label rasters: a shipped one (worldcover, corine, ...) or a .toml file; by
    default the shipped one that their tag `legend` or their colours name, or else landcover9; one
    that contradicts them is refused."""
    legend: str = DEFAULT_LEGEND
    """Legend of the prepared labels: a shipped one or a .toml file."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with label codes that the legend does not know; ignored ones become no data."""
    resampling: Resampling = "bicubic"
    """How the 20 m and 60 m bands come to 10 m."""
    sharpening: Sharpening = "none"
    """Detail for the 20 m and 60 m bands from the 10 m bands; B10 is never sharpened."""
    cloud_source: Literal["product", "mask", "s2cloudless", "none"] = "product"
    """Where clouds come from: the product's own mask, --cloud-mask, or s2cloudless."""
    cloud_mask: Path | None = None
    """Cloud mask raster, or a folder with PRODUCT_NAME.tif, for --cloud-source mask; with another
    source, its cover is only reported beside the others."""
    cloud_mask_values: tuple[str, ...] = ("0=clear", "1=cloud", "2=cirrus", "3=shadow")
    """Meaning of the mask's values (clear, cloud, cirrus, shadow, snow); default OmniCloudMask."""
    cloud_buffer_m: float = 250.0
    """Distance around clouds and their shadows that counts as doubtful, in m."""
    cloud_shadows: bool = True
    """Project cloud shadows where the source of clouds has none."""
    # TOA reflectance; the default of like methods (rgeeExtra).
    shadow_nir_reflectance: float = 0.15
    """B08 reflectance below which a pixel in reach of a cloud counts as its shadow."""
    s2cloudless_resolution_m: Literal[60, 120] = 120
    """Grid that s2cloudless runs on; 60 takes four times as long."""
    checksums: bool = True
    """Compare the files with the checksums in manifest.safe."""
    check_only: bool = False
    """Check and report, write no scene."""
    keep_going: bool = False
    """Prepare the good products even if others have problems; the exit code is still 2."""
    overwrite: bool = False
    """Prepare finished scenes again."""
    jobs: int = 1
    """Products prepared at the same time; each needs about 2.5 GB of memory, 3.7 GB with
    --sharpening glp."""
    scheduler: str | None = None
    """Address or file of a Dask scheduler to run the jobs on."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        flag_ranges.at_least(self, 1, "jobs")
        flag_ranges.at_least(self, 0, "cloud_buffer_m")
        if self.cloud_source == "mask" and self.cloud_mask is None:
            raise ConfigError("--cloud-source mask needs --cloud-mask FILE")


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(PrepareConfig, _program, argv, prog="landcover prepare")


def _program(config: PrepareConfig) -> int:
    if prepare_scenes(config).unfit:
        return 2
    if not config.check_only:
        if config.ground_truth:
            legend = {} if config.legend == DEFAULT_LEGEND else {"legend": config.legend}
            cli.print_next("build", data_dir=config.output_dir, output_dir="dataset", **legend)
        else:
            images = config.output_dir
            cli.print_next("predict", model_path="export", input_image=images, output_map="maps")
    return 0


def prepare_scenes(config: PrepareConfig) -> "Batch":
    """Prepares products and returns the scenes and what was found in the products.

    Raises:
        LandCoverError: A setting is wrong, or products have fatal problems and `keep_going` is
            off; nothing is prepared then.
    """
    from landcover_tf.sentinel2.batch import run
    from landcover_tf.sentinel2.settings import Options, Settings

    # A request for one run: not stored in the settings, which may be used again.
    repeated = replace(config, overwrite=False)
    return run(
        config.sentinel2_dir,
        config.output_dir,
        part(Settings, config),
        part(Options, config),
        begin=lambda: config_files.write_config(repeated, config.output_dir / "prepare.json"),
    )


if __name__ == "__main__":
    sys.exit(main())
