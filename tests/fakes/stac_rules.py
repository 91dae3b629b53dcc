"""What the STAC extensions that our items name demand of them.

Written down by hand from the published schemas (classification 2.0.0, MLM 1.4.0 and what 1.5.0
adds, projection 2.0.0, raster 2.0.0 with the rules of its beta), which pystac would have to fetch
from the network.
"""

import re
from collections.abc import Iterator
from typing import Any

EXTENSIONS = {
    "classification": "v2.0.0",
    "mlm": "v1.4.0",
    "proj": "v2.0.0",
    "raster": "v2.0.0",
}
TITLES = {"proj": "projection"}
DATA_TYPES = {
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float16", "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other",
}  # fmt: skip
MLM_REQUIRED = {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"}
MLM_FIELDS = MLM_REQUIRED | {
    "mlm:framework", "mlm:framework_version", "mlm:total_parameters", "mlm:pretrained",
    "mlm:pretrained_source",
}  # fmt: skip

CLASS_FIELDS = {"value", "name", "title", "description", "color_hint", "nodata"}
MLM_TASKS = {
    "regression", "classification", "scene-classification", "detection", "object-detection",
    "segmentation", "semantic-segmentation", "instance-segmentation", "panoptic-segmentation",
    "similarity-search", "generative", "image-captioning", "super-resolution",
}  # fmt: skip


def check_extensions(item: dict[str, Any]) -> None:
    """Asserts that an item names the extensions it uses, no others, and keeps to their rules."""
    used = {
        prefix for prefix in EXTENSIONS
        if any(key.startswith(f"{prefix}:") for key in _keys(item))
    }  # fmt: skip
    assert set(item["stac_extensions"]) == {
        f"https://stac-extensions.github.io/{TITLES.get(name, name)}/{EXTENSIONS[name]}/schema.json"
        for name in used
    }
    for classes in _values(item["assets"], "classification:classes"):
        _check_classes(classes)
    _check_projection(item["properties"])
    for scale in _values(item, "raster:scale"):
        assert isinstance(scale, int | float)
    if "mlm" in used:
        _check_model(item)


def _check_classes(classes: list[dict[str, Any]]) -> None:
    assert classes and len({c["value"] for c in classes}) == len(classes)
    assert all(set(c) <= CLASS_FIELDS for c in classes)
    for land_cover in classes:
        assert isinstance(land_cover["value"], int)
        assert re.fullmatch("[0-9A-Za-z_-]+", land_cover["name"])
        assert re.fullmatch("[0-9A-Fa-f]{6}", land_cover.get("color_hint", "000000"))
        assert isinstance(land_cover.get("nodata", False), bool)


def _check_projection(properties: dict[str, Any]) -> None:
    own = {key: value for key, value in properties.items() if key.startswith("proj:")}
    assert set(own) <= {"proj:code", "proj:wkt2", "proj:shape", "proj:transform"}
    for name in ("proj:code", "proj:wkt2"):
        assert own.get(name) is None or isinstance(own[name], str)
    assert len(own.get("proj:shape", (1, 1))) == 2
    assert all(isinstance(size, int) for size in own.get("proj:shape", ()))
    assert len(own.get("proj:transform", range(6))) in (6, 9)


def _check_model(item: dict[str, Any]) -> None:
    properties = item["properties"]
    own = {key for key in properties if key.startswith("mlm:")}
    assert MLM_REQUIRED <= own <= MLM_FIELDS
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\s-]+[a-zA-Z0-9]", properties["mlm:name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties.get("mlm:framework_version", "1.0.0"))
    # Bands that inputs name must be described by STAC's own field, or by older extensions.
    described = {band["name"] for band in properties["bands"]}
    for source in properties["mlm:input"]:
        assert {band["name"] for band in source["bands"]} == described
        assert "bands" in source["input"]["dim_order"]  # Since 1.5, where bands are named.
        _check_array(source["input"])
    assert set(properties["mlm:tasks"]) <= MLM_TASKS
    for output in properties["mlm:output"]:
        assert set(output["tasks"]) <= MLM_TASKS
        assert "bands" not in output["result"]["dim_order"]
        _check_array(output["result"])
        if "classification:classes" in output:
            _check_classes(output["classification:classes"])
            # MLM refers to classification 1.1, whose own readers fail at the later key.
            assert not any("nodata" in c for c in output["classification:classes"])
    models = [a for a in item["assets"].values() if "mlm:model" in a["roles"]]
    assert models and all(a["mlm:artifact_type"] for a in models)
    others = [a for a in item["assets"].values() if a not in models]
    assert not any("mlm:artifact_type" in a for a in others)
    assert not any(key in a for a in item["assets"].values() for key in MLM_REQUIRED)


def _check_array(array: dict[str, Any]) -> None:
    assert len(array["shape"]) == len(array["dim_order"]) == len(set(array["dim_order"]))
    assert all(isinstance(size, int) and size >= -1 for size in array["shape"])
    assert all(re.fullmatch("[a-z_-]+", name) for name in array["dim_order"])
    assert array["data_type"] in DATA_TYPES


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in _inner(value):
        yield from _keys(inner)


def _values(value: Any, key: str) -> Iterator[Any]:
    if isinstance(value, dict) and key in value:
        yield value[key]
    for inner in _inner(value):
        yield from _values(inner, key)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
