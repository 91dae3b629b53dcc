"""`landcover`: lists the programs and runs one of them."""

import sys
from importlib import import_module

from landcover_tf.system.provenance import VERSION

# Programs are named as text, because the library must not import the programs built on it.
PROGRAMS = {
    "simulate": ("landcover_tf.simulate", "write simulated Level-1C products with ground truth"),
    "fetch": ("landcover_tf.fetch", "download Level-1C products and WorldCover labels"),
    "rasterize": ("landcover_tf.rasterize", "make a label raster of polygons"),
    "prepare": ("landcover_tf.prepare", "turn products into 13 bands at 10 m with labels"),
    "build": ("tfrecords_builder.__main__", "cut scenes into sharded TFRecords"),
    "audit": ("tfrecords_builder.audit", "prove that no pixel is in two splits"),
    "validate": ("tfrecords_builder.validate", "re-read a dataset and check every record"),
    "inspect": ("tfrecords_builder.inspect", "show one record as GeoTIFF and picture"),
    "sheet": ("landcover_tf.input_pipeline.sheet", "draw one patch under every augmentation"),
    "train": ("landcover_tf.train", "train the U-Net"),
    "tune": ("tuning.__main__", "search training settings with KerasTuner"),
    "experiments": ("tuning.experiments", "train and compare a list of configurations"),
    "evaluate": ("landcover_tf.evaluate", "score a run on held-out patches"),
    "export": ("landcover_tf.export", "write a SavedModel for serving"),
    "predict": ("serving.predict", "map a product or raster"),
    "assess": ("landcover_tf.assess.__main__", "sample a map, estimate its accuracy, compare it"),
    "monitor": ("landcover_tf.monitor", "compare served data with the training data"),
    "report": ("landcover_tf.report.__main__", "write one page about a run and its map"),
    "serve-report": ("landcover_tf.report.serve", "show a large report in the browser"),
}


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of the named program, 2 when there is no such program."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(VERSION)
        return 0
    if arguments[0] not in PROGRAMS:
        print(f"error: no program {arguments[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    module = import_module(PROGRAMS[arguments[0]][0])
    return int(module.main(arguments[1:]))


def _usage() -> str:
    lines = [
        f"  {name:12} {what:52} python -m {module.removesuffix('.__main__')}"
        for name, (module, what) in PROGRAMS.items()
    ]
    return "\n".join(
        [
            "usage: landcover PROGRAM [flags]; landcover PROGRAM --help lists the flags",
            "",
            *lines,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
