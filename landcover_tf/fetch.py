"""Downloads Level-1C products and WorldCover labels: `python -m landcover_tf.fetch`."""

import sys
from pathlib import Path

from landcover_tf.configs import cli
from landcover_tf.sentinel2.fetch_config import FetchConfig


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    return cli.run(FetchConfig, _program, argv, prog="landcover fetch")


def _program(config: FetchConfig) -> int:
    from landcover_tf.sentinel2.fetching import fetch_products

    if not fetch_products(config):
        return 1
    if not config.dry_run:
        labels = config.output_dir / "worldcover"
        given: dict[str, str | Path] = {}
        if labels.is_dir():
            given = {"ground_truth": labels, "source_legend": "worldcover"}
        cli.print_next(
            "prepare", sentinel2_dir=config.output_dir / "products", **given, output_dir="scenes"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
