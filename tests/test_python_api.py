"""What Python programs and notebooks import."""

import ast
import dataclasses
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

import landcover_tf
from landcover_tf.errors import LandCoverError
from serving import PredictConfig

PACKAGES = ("landcover_tf", "serving", "tfrecords_builder")


def documented() -> str:
    """Returns the code of the page on Python."""
    lines = (Path(__file__).parents[1] / "docs/python.md").read_text().splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line[:4] in ("", "    ")))


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)


def test_importing_a_package_is_cheap_and_no_name_imports_tensorflow(tmp_path):
    done = run_python(
        f"""import sys
from importlib import import_module
packages = [import_module(name) for name in {PACKAGES}]
assert not {{"numpy", "rasterio", "tensorflow", "tyro"}} & sys.modules.keys()
for package in packages:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert name in dir(package)
assert not {{"keras", "tensorflow"}} & sys.modules.keys()
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_see_the_names_that_are_imported_when_asked_for(name):
    package = import_module(name)
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {one.name: node.module for node in block.body for one in node.names}
    assert seen == {one: f"{name}.{module}" for one, module in package._MODULES.items()}


@pytest.mark.parametrize("name", PACKAGES)
def test_no_name_is_a_module(name):
    # Importing that module would put it in the place of the function.
    folder = Path(import_module(name).__file__).parent
    modules = {path.stem for path in folder.iterdir()}
    assert not modules & {*import_module(name).__all__}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'landcover_tf' has no attribute 'trian'"):
        landcover_tf.trian  # noqa: B018


def test_the_documented_configs_have_these_fields():
    names = {name: import_module(package) for package in PACKAGES
             for name in import_module(package).__all__}  # fmt: skip
    calls = [node for node in ast.walk(ast.parse(documented())) if isinstance(node, ast.Call)]
    configs = {ast.unparse(c.func).removeprefix("lc."): c for c in calls}
    configs = {name: call for name, call in configs.items() if name.endswith("Config")}
    assert len(configs) == 8
    for name, call in configs.items():
        fields = {field.name for field in dataclasses.fields(getattr(names[name], name))}
        assert {keyword.arg for keyword in call.keywords} - {None} <= fields


@pytest.mark.slow
def test_the_documented_lines_end_with_a_map_and_a_network(tmp_path):
    done = run_python(
        documented() + "\nassert scores['unet']['overall_accuracy'] > 0; network.count_params()\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "small/map/map.tif").is_file()


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (PredictConfig, {"refine": "probability"}),
        (PredictConfig, {"mode": "exakt"}),
        (landcover_tf.TrainConfig, {"monitor": "iou"}),
        (landcover_tf.TrainConfig, {"class_weights": "effective_number"}),
        (landcover_tf.TrainConfig, {"mixed_precision": "fp16"}),
        (landcover_tf.EvaluateConfig, {"calibration": "vectors"}),
    ],
)
def test_a_mistyped_choice_is_refused_and_the_choices_are_told(config, fields):
    folder = Path("folder")
    needed = {
        PredictConfig: {"model_path": folder, "input_image": (folder,), "output_map": folder},
        landcover_tf.TrainConfig: {"data_dir": folder, "output_dir": folder},
        landcover_tf.EvaluateConfig: {"run_dir": folder},
    }[config]
    ((name, value),) = fields.items()
    told = f"--{name.replace('_', '-')} must be one of .*, got {value}"
    with pytest.raises(LandCoverError, match=told):
        config(**needed, **fields)
    config(**needed)
    if config is landcover_tf.TrainConfig:
        config(**needed, class_weights=(1.0, 2.0))
