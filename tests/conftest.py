"""Shared inputs: one simulated chain per session, and the real data where it is present.

Each link of the chain is made by the real program when a test first asks for it, once for all
processes of pytest-xdist. Tests only read it, or change a copy.
"""

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from landcover_tf.system.locks import alone
from landcover_tf.system.quiet import use_onednn

use_onednn()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANDCOVER_PROGRESS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core: threads of one that wait by spinning would take the core of another.
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, "1")

# An example that waits for another process on a busy machine is not slow. The same examples every
# time: a run tells of the change that it tests; `make test-all` looks for others.
settings.register_profile("others", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")

# They take half a minute or more each, for the networks that they train and the processes that they
# start; the longest first.
LONGEST = (
    "test_search.py",
    "test_survival.py",
    "test_train_and_evaluate.py",
    "test_predict_runs.py",
    "test_distributed.py",
    "test_prepare_many.py",
    "test_report.py",
    "test_experiments.py",
)
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins the longest files first, so that no process ends long after the others."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory) -> None:
    """TensorFlow's generated sources, and what else is left behind, go with the session's files."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("temporary"))


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of a user whom permissions bind, as which the test runs; root may read all."""
    # The session's own folder for temporary files is closed to other users.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        # NumPy imports this part late, and Python's own files may be closed to other users.
        importlib.import_module("numpy.random")
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.fixture
def free_space(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Call it with the bytes that are to be free on every disk from then on."""

    def leave(free: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    return leave


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real data is not present")
    return SHARED


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> Path:
    """Folder of the session's simulated chain."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The process has a folder of its own in that of the session.
        session = session.parent
    folder = session / "chain"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, program: Callable[[list[str]], int], arguments: list[str]) -> Path:
    """Returns `folder`, which the first process that asks for it lets `program` make."""
    done = folder.with_name(f"{folder.name}.done")
    busy = f"another process makes {folder}; waiting for its end"
    with alone(folder.with_name(f"{folder.name}.lock"), busy, wait=True):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # What one left that failed.
            assert program(arguments) == 0
            done.touch()
    return folder


@pytest.fixture(scope="session")
def simulated_products(chain) -> Path:
    """Folder with `products` (three of 360 px, one of them a zip) and `ground_truth`."""
    from landcover_tf import simulate

    folder = chain / "input"
    arguments = ["--output-dir", str(folder), "--products", "3", "--size-px", "360"]
    return made_once(folder, simulate.main, arguments)


@pytest.fixture(scope="session")
def prepared_scenes(chain, simulated_products) -> Path:
    """Folder with the three prepared scenes and their labels."""
    from landcover_tf import prepare

    folder = chain / "scenes"
    arguments = [
        "--sentinel2-dir", str(simulated_products / "products"),
        "--ground-truth", str(simulated_products / "ground_truth"),
        "--output-dir", str(folder),
    ]  # fmt: skip
    return made_once(folder, prepare.main, arguments)


@pytest.fixture(scope="session")
def tiny_dataset(chain, prepared_scenes) -> Path:
    """Shards of 64 px patches: a scene each for training, validation and test."""
    from tfrecords_builder.__main__ import main

    folder = chain / "dataset"
    arguments = [
        "--data-dir", str(prepared_scenes), "--output-dir", str(folder),
        "--patch-size", "64", "--patch-overlap", "16", "--split", "scenes",
        "--val-fraction", "0.33", "--test-fraction", "0.33", "--jobs", "1",
    ]  # fmt: skip
    return made_once(folder, main, arguments)


@pytest.fixture(scope="session")
def tiny_run(chain, tiny_dataset) -> Path:
    """A finished run folder: the first two stages of resnet18 trained for three epochs."""
    from landcover_tf import train

    folder = chain / "run"
    arguments = [
        "--data-dir", str(tiny_dataset), "--output-dir", str(folder), "--model", "resnet18",
        "--encoder-depth", "2", "--encoder-weights", "none", "--encoder-lr-factor", "1",
        "--patch-size", "64", "--patch-overlap", "16", "--batch-size", "8", "--epochs", "3",
        "--lr", "1e-3", "--plateau-patience", "1", "--decoder-filters", "32", "16", "16", "8", "8",
    ]  # fmt: skip
    return made_once(folder, train.main, arguments)


@pytest.fixture(scope="session")
def scored_run(chain, tiny_run) -> Path:
    """A copy of the run with an evaluation, which the run itself stays without."""
    from landcover_tf import evaluate

    folder = chain / "scored"

    def copy_and_evaluate(arguments: list[str]) -> int:
        shutil.copytree(tiny_run, folder)
        return evaluate.main(arguments)

    quick = ["--bootstrap-samples", "20", "--baseline-pixels", "3000"]
    return made_once(folder, copy_and_evaluate, ["--run-dir", str(folder), *quick])
