from dataclasses import replace

import pystac
import pytest
from fakes.small_export import small_info
from fakes.stac_rules import check_extensions
from pystac import STACObjectType
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from landcover_tf.exporting.model_item import classification_classes, model_item, write_model_item
from landcover_tf.legend import LandCoverClass, Legend


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "2024_map"},
        {"software": {"tensorflow": "2.21.0"}},
        {"software": {"tensorflow": "2.22.0rc1"}},
        {"pretrained": {"name": "own.pth", "url": "", "sha256": "ab", "license": ""}},
    ],
)
def test_the_item_is_valid_without_a_network(changes):
    info = replace(small_info(), **changes)
    item = model_item(info, parameters=321)
    JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, "1.1.0")
    check_extensions(item)
    version = info.software.get("tensorflow", "")
    known = version if version == "2.21.0" else None
    assert item["properties"].get("mlm:framework_version") == known
    # "If trained from scratch (i.e.: pretrained = false), the null value should be set explicitly."
    source = "own.pth" if "pretrained" in changes else None
    assert item["properties"]["mlm:pretrained"] == (source is not None)
    assert item["properties"]["mlm:pretrained_source"] == source


def test_names_of_any_alphabet_become_names_of_classes():
    names = ("лес", "forêt dense", "---")
    classes = tuple(
        LandCoverClass(code=code, name=name, color="#00ff00")
        for code, name in enumerate(names, start=1)
    )
    found = classification_classes(Legend(name="mine", classes=classes))[1:]
    assert [c["name"] for c in found] == ["class_1", "for_t_dense", "class_3"]
    assert [c["description"] for c in found] == list(names)


def test_a_catalogue_reads_how_to_call_the_model(tmp_path):
    info = small_info()
    write_model_item(tmp_path, info, parameters=321)
    item = pystac.Item.from_file(str(tmp_path / "item.json"))
    found = MLMExtension.ext(item)
    assert found.total_parameters == 321
    assert [str(task) for task in found.tasks] == ["semantic-segmentation"]
    (image,) = found.input
    assert tuple(band.name for band in image.bands) == info.band_names
    assert image.input.shape == [-1, -1, -1, len(info.bands)]
    assert image.input.dim_order == ["batch", "height", "width", "bands"]
    assert str(image.input.data_type) == info.dtype
    outputs = {output.name: output for output in found.output}
    assert set(outputs) == {"classes", "confidence", "probabilities"}
    assert outputs["classes"].result.shape == [-1, -1, -1]
    assert outputs["probabilities"].result.shape[-1] == len(info.class_codes)
    values = {c.value: c for c in outputs["classes"].classes}
    assert set(values) == {0, *info.class_codes}
    # The n-th class of the probabilities is their n-th channel; a confidence has no classes.
    assert [c.value for c in outputs["probabilities"].classes] == list(info.class_codes)
    assert "classification:classes" not in outputs["confidence"].to_dict()
    assert values[60].color_hint == info.legend.classes[5].color.removeprefix("#").upper()
    assert "mlm:model" in item.assets["model"].roles
