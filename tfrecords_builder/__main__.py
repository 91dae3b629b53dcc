"""Builds sharded TFRecords: `python -m tfrecords_builder --data-dir D --output-dir O`."""

import sys

from landcover_tf import cli
from tfrecords_builder.config import BuildConfig


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of a build."""
    return cli.run(BuildConfig, _program, argv, prog="landcover build")


def _program(config: BuildConfig) -> None:
    from tfrecords_builder.pipeline import build

    info = build(config)
    for name, split in info.splits.items():
        size = sum(shard.bytes for shard in split.shards) / 1e6
        print(f"{name:5} {split.records:7} records in {len(split.shards)} shards, {size:.1f} MB")
    print(f"dataset {info.name} ({info.data_hash}) is in {config.output_dir}")
    if "val" in info.splits and info.splits["val"].records:  # Training needs some.
        cli.print_next("train", data_dir=config.output_dir, output_dir="run")


if __name__ == "__main__":
    sys.exit(main())
