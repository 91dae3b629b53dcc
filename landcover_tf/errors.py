"""Errors that a user can act on; programs print them as one sentence and exit with code 2."""

from collections.abc import Sequence


class LandCoverError(Exception):
    """The input or a setting is at fault, not the program.

    The message says what was expected, what came, which file, and what to do.
    """


class ConfigError(LandCoverError):
    """A flag or a key of a config file is unknown, ill-typed or out of range."""


class OutputError(LandCoverError):
    """The output cannot be written: it exists, is of another run, or the disk refuses."""


class ProductError(LandCoverError):
    """A Sentinel-2 product is not what a Level-1C product must be."""


class RasterError(LandCoverError):
    """A raster's bands, grid, CRS or data type do not fit the purpose."""


class LabelError(LandCoverError):
    """A label raster has unknown codes or does not fit its image."""


class LegendError(LandCoverError):
    """A legend or a crosswalk is inconsistent or unknown."""


class SampleError(LandCoverError):
    """Reference points, their design or their strata do not fit the purpose."""


class DatasetError(LandCoverError):
    """A built dataset is missing, changed, of another schema, or unfit for the request."""


class RunError(LandCoverError):
    """A run folder is missing, unfinished or belongs to another configuration."""


class ModelError(LandCoverError):
    """A model or weights file does not fit the data or the request."""


class ServerError(LandCoverError):
    """A model server is unreachable or answered with an error."""


def listed(names: Sequence[object], limit: int = 10) -> str:
    """Returns names for a sentence: the first `limit`, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(str, names[:limit])) + more
