"""Predicts class maps: `python -m serving.predict`."""

import sys
import warnings

from landcover_tf.configs import cli
from serving.config import PredictConfig


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(PredictConfig, _program, argv, prog="landcover predict")


def _program(config: PredictConfig) -> None:
    from rasterio.errors import NotGeoreferencedWarning

    from landcover_tf.legend import legend_names
    from landcover_tf.model_info import ModelInfo, find_export
    from landcover_tf.rasters.raster_legends import legend_tag
    from serving.many_scenes import predict_all
    from serving.postprocess import with_uncertain

    with warnings.catch_warnings():
        # `predict_all` says itself, in a sentence, which rasters have no place on Earth.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        made = predict_all(config)
    if made is not None:
        # The map names its legend, but only shipped ones are found by their names.
        own = {} if legend_tag(made) in legend_names() else {"legend": "LEGEND.toml"}
        if config.uncertain_below > 0:
            # Their class is none of the legend, which would end that command in an error.
            legend = ModelInfo.load(find_export(config.model_path)).legend
            own["exclude_codes"] = str(with_uncertain(legend).codes[-1])
        cli.print_next("assess design", map=made, output_dir="sample", **own)


if __name__ == "__main__":
    sys.exit(main())
