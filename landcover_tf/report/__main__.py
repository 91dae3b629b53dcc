"""Entry of `landcover report`: one page about a run and its map."""

import sys

from landcover_tf.configs import cli
from landcover_tf.report.config import ReportConfig


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(ReportConfig, _program, argv, prog="landcover report")


def _program(config: ReportConfig) -> None:
    from landcover_tf.report.writing import write_report

    write_report(config)


if __name__ == "__main__":
    sys.exit(main())
