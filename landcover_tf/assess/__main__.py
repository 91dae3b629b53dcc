"""Entry of `landcover assess`: one of its three parts is run."""

import sys
from collections.abc import Callable

from landcover_tf.assess.compare import CompareConfig, compare_maps
from landcover_tf.assess.design import DesignConfig, draw_points
from landcover_tf.assess.estimate import EstimateConfig, estimate_accuracy
from landcover_tf.configs import cli

USAGE = """usage: landcover assess {design,estimate,compare} [flags]

  design     draw a stratified random sample of a map, to be labelled
  estimate   accuracy and area of a map from labelled points
  compare    agreement of a map with a reference raster

landcover assess NAME --help lists the flags."""


def main(argv: list[str] | None = None) -> int:
    """Runs the named part of the program and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    name, flags = arguments[0], arguments[1:]
    prog = cli.command("landcover assess", argv)
    if name == "design":
        return cli.run(DesignConfig, _program(draw_points), flags, prog=f"{prog} design")
    if name == "estimate":
        return cli.run(EstimateConfig, _program(estimate_accuracy), flags, prog=f"{prog} estimate")
    if name == "compare":
        return cli.run(CompareConfig, _program(compare_maps), flags, prog=f"{prog} compare")
    print(f"error: no part {name!r}\n\n{USAGE}", file=sys.stderr)
    return 2


def _program(function: Callable[[cli.Config], object]) -> Callable[[cli.Config], None]:
    """Returns a function whose result is no exit code."""

    def run(config: cli.Config) -> None:
        function(config)

    return run


if __name__ == "__main__":
    sys.exit(main())
