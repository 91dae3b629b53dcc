"""A STAC item that describes an exported model, with the machine-learning-model extension (MLM).

A catalogue can then find the model by task, bands and classes, and knows how to call it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landcover_tf.legend import Legend
from landcover_tf.model_info import ModelInfo
from landcover_tf.system.files import write_json

STAC_VERSION = "1.1.0"
MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
FILE_NAME, CARD_NAME = "item.json", "MODEL_CARD.md"


def write_model_item(folder: Path, info: ModelInfo, *, parameters: int) -> None:
    """Writes `item.json` into an export's version folder; its links are relative.

    Args:
        folder: The version folder.
        info: The contract.
        parameters: Number of the network's weights.
    """
    item = model_item(info, parameters=parameters)
    if (folder / CARD_NAME).is_file():
        item["assets"]["card"] = {
            "href": f"./{CARD_NAME}",
            "title": "what the model is, what it was trained on, how well it did, and licences",
            "type": "text/markdown",
            "roles": ["metadata"],
        }
    write_json(folder / FILE_NAME, item)


def model_item(info: ModelInfo, *, parameters: int) -> dict[str, Any]:
    """Returns the item. It has no geometry: the model may be used wherever its bands exist."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"{info.name}-{info.version}"
    bands = [{"name": band} for band in info.band_names]
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [MLM, CLASSIFICATION],
        "id": name,
        "geometry": None,
        "properties": {
            "datetime": now,
            "title": f"{info.encoder_title} U-Net for {info.legend.name} land cover",
            # MLM wants the inputs' bands here, too, and STAC itself then also in an asset.
            "bands": bands,
            # It wants a letter first.
            "mlm:name": name if name[0].isalpha() else f"model-{name}",
            "mlm:architecture": "U-Net",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:framework": "TensorFlow",
            **_framework_version(info.software.get("tensorflow", "")),
            "mlm:total_parameters": parameters,
            # Of a model trained from scratch MLM wants null for the source.
            "mlm:pretrained": info.pretrained is not None,
            "mlm:pretrained_source": _origin(info.pretrained),
            "mlm:input": [_input(info)],
            "mlm:output": _outputs(info),
        },
        "links": [],
        "assets": {
            "model": {
                "href": "./saved_model.pb",
                "title": "TensorFlow SavedModel; its folder is the model",
                "type": "application/vnd.tensorflow.saved-model",
                "roles": ["mlm:model"],
                "mlm:artifact_type": "tf.saved_model.save",
                "bands": bands,
            },
            "contract": {
                "href": "./model.json",
                "title": "bands, classes, margin, scores and statistics of the training",
                "type": "application/json",
                "roles": ["metadata"],
            },
        },
    }


def classification_classes(legend: Legend) -> list[dict[str, Any]]:
    """Returns a legend as objects of STAC's classification extension, no data first."""
    listed: list[dict[str, Any]] = [
        {
            "value": legend.nodata,
            "name": _slug(legend.nodata_name, legend.nodata),
            "description": legend.nodata_name,
            "nodata": True,
        }
    ]
    return listed + [
        {
            "value": c.code,
            "name": _slug(c.name, c.code),
            "description": c.name,
            "color_hint": c.color.removeprefix("#").upper(),
        }
        for c in legend.classes
    ]


def _input(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": "image",
        "description": (
            f"stored values, {info.nodata:g} in all bands where there is no data; height and "
            f"width are multiples of {info.size_multiple}. The model itself turns them into "
            "reflectance (stored * scale + offset) and normalizes them."
        ),
        "bands": [{"name": name} for name in info.band_names],
        "input": {
            "shape": [-1, -1, -1, len(info.bands)],
            "dim_order": ["batch", "height", "width", "bands"],
            "data_type": info.dtype,
        },
        "value_scaling": None,
        "resize_type": None,
    }


def _outputs(info: ModelInfo) -> list[dict[str, Any]]:
    space = ["batch", "height", "width"]
    # MLM's classes are those of classification 1.1, which knows no key for the value of no data;
    # the n-th class of the probabilities is their n-th channel.
    codes = [
        {key: value for key, value in land_cover.items() if key != "nodata"}
        for land_cover in classification_classes(info.legend)
    ]
    channels = [next(c for c in codes if c["value"] == code) for code in info.class_codes]
    outputs: list[tuple[str, list[str], str, list[dict[str, Any]]]] = [
        ("classes", space, "uint8", codes),
        ("confidence", space, "float32", []),
        ("probabilities", [*space, "class"], "float32", channels),
    ]
    return [
        {
            "name": name,
            "tasks": ["semantic-segmentation"],
            "result": {
                "shape": [-1, -1, -1, len(info.class_codes)][: len(order)],
                "dim_order": order,
                "data_type": dtype,
            },
            **({"classification:classes": classes} if classes else {}),
        }
        for name, order, dtype, classes in outputs
    ]


def _origin(pretrained: Mapping[str, str] | None) -> str | None:
    """Returns the name of pretrained weights, their address and licence as far as known."""
    if pretrained is None:
        return None
    license_ = pretrained["license"] and f"licence {pretrained['license']}"
    return ", ".join(filter(None, (pretrained["name"], pretrained["url"], license_)))


def _framework_version(version: str) -> dict[str, str]:
    """Returns the field with a version of three numbers; the extension knows no other form."""
    return {"mlm:framework_version": version} if re.fullmatch(r"\d+\.\d+\.\d+", version) else {}


def _slug(name: str, code: int) -> str:
    """Returns a name of the letters that the classification extension allows."""
    kept = "".join(c if c.isalnum() and c.isascii() else "_" for c in name.lower())
    return "_".join(part for part in kept.split("_") if part) or f"class_{code}"
