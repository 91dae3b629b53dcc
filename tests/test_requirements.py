"""What the packages import and read is what `setup.cfg` asks for and installs."""

import ast
import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("landcover_tf", "tfrecords_builder", "tuning", "serving")
DISTRIBUTIONS = {
    "PIL": "pillow",
    "grpc": "grpcio",
    "keras_tuner": "keras-tuner",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "google_crc32c": "google-crc32c",
    "pystac_client": "pystac-client",
    "tensorflow_serving": "tensorflow-serving-api",
}
"""Where a package is distributed under another name."""


def imported():
    """Returns the distributions of all imports, wherever in a module they are."""
    names = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    others = names - set(sys.stdlib_module_names) - set(PACKAGES)
    return {DISTRIBUTIONS.get(name, name) for name in others}


def setup():
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def declared():
    """Returns the distributions that the packages or their extras need, those of tests left out."""
    config = setup()
    extras = [value for name, value in config["options.extras_require"].items() if name != "test"]
    lines = "\n".join([config["options"]["install_requires"], *extras]).split()
    return {re.split("[<>=[]", line)[0] for line in lines}


def test_all_that_is_imported_is_declared():
    assert imported() - declared() == set()


def test_messages_name_extras_that_are_there():
    """How a checkout gets one, the README alone tells."""
    extras = setup()["options.extras_require"]
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "pip install" not in text, path
            named = re.findall(r"landcover-tf\[(\w+)\]", text)
            assert set(named) <= set(extras), path


def test_files_that_are_no_modules_are_installed():
    for package, globs in setup()["options.package_data"].items():
        folder = ROOT / package
        installed = {path for glob in globs.split() for path in folder.glob(glob)}
        files = {path for path in folder.rglob("*.*") if "__pycache__" not in path.parts}
        assert {p for p in files - installed if p.is_file() and p.suffix != ".py"} == set()
