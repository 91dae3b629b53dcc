"""How a product's bands come to 10 m for a model, and whether an input's came so."""

from landcover_tf.model_info import ModelInfo
from landcover_tf.upsampling import any_coarse
from serving.source import Source


def difference(source: Source, info: ModelInfo) -> str | None:
    """Returns a warning if an input's 20 m and 60 m bands are not what the model was trained on.

    None where they are, where the model takes none of them, or where nothing tells.
    """
    trained, found = info.upsampling, source.upsampling
    if trained is None or found is None or trained == found or not any_coarse(info.band_names):
        return None
    return (
        f"the 20 m and 60 m bands of {source.path} are those of {found}, the model was trained on "
        f"{trained}; expect a worse map, or prepare or read the input as the model was trained"
    )
