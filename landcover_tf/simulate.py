"""Writes simulated Level-1C products and their land cover: `python -m landcover_tf.simulate`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.errors import ConfigError

TILES = ("34SEH", "34SFH", "34SEG", "34SFG", "34SEJ", "34SFJ", "34SGH", "34SGG")
"""Tiles in the order in which products take them; none overlaps another's corner."""


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Simulate Sentinel-2 Level-1C products with known land cover.

    Each product is a genuine SAFE folder or zip of an invented landscape, with a label raster of
    the landcover9 legend. They exercise the whole chain without any download; scores on them say
    nothing about Earth.
    """

    output_dir: Path
    """Folder for products/, ground_truth/ and simulate.json."""
    products: int = 2
    """Number of products, each of another tile, 1 to 8."""
    size_px: int = 1098
    """Height and width at 10 m, a multiple of 6; a real tile has 10980."""
    seed: int = 0
    """Changes every landscape."""
    baseline: str | None = None
    """Processing baseline such as 05.11; by default 05.11 and 03.01 take turns."""
    container: Literal["alternate", "folder", "zip"] = "alternate"
    """Write SAFE folders, zips of them, or the two in turns."""
    cloud_fraction: float = 0.04
    """Share of each product under cloud, 0 to 1."""
    nodata_fraction: float = 0.03
    """Share of every second product outside the swath, 0 to 1."""
    satellite: str = "S2A"
    """S2A, S2B or S2C."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        flag_ranges.within(self, 1, len(TILES), "products")
        flag_ranges.at_least(self, 0, "seed")
        if self.size_px < 60 or self.size_px % 6:
            raise ConfigError(f"--size-px must be a multiple of 6 from 60, got {self.size_px}")
        flag_ranges.within(self, 0, 1, "cloud_fraction", "nodata_fraction")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    return cli.run(SimulateConfig, _program, argv, prog="landcover simulate")


def _program(config: SimulateConfig) -> None:
    simulate_products(config)


def simulate_products(config: SimulateConfig) -> list[Path]:
    """Writes simulated products with their label rasters and returns the paths of the products.

    Raises:
        LandCoverError: A value is unfit, or a product is there.
    """
    from landcover_tf.sentinel2.simulation import Flaws, simulate_product

    made = []
    for index, tile in enumerate(TILES[: config.products]):
        second = index % 2 == 1
        try:
            product = simulate_product(
                config.output_dir,
                tile=tile,
                seed=config.seed,
                size_px=config.size_px,
                baseline=config.baseline or ("03.01" if second else "05.11"),
                zipped=second if config.container == "alternate" else config.container == "zip",
                cloud_fraction=config.cloud_fraction,
                flaws=Flaws(nodata_fraction=config.nodata_fraction if second else 0.0),
                satellite=config.satellite,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error
        made.append(product.path)
        print(f"{product.path}\n{product.label_path}")
    config_files.write_config(config, config.output_dir / "simulate.json")
    return made


if __name__ == "__main__":
    sys.exit(main())
