"""The folder that a build works in, and whether one that is there may be taken up again."""

import hashlib
import secrets
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from landcover_tf.configs.settings_changes import changes
from landcover_tf.datasets.dataset_info import FILE_NAME
from landcover_tf.datasets.tfrecord import GZIP_LEVEL
from landcover_tf.errors import DatasetError, OutputError
from landcover_tf.system import locks
from landcover_tf.system.files import read_json, sha256_of, write_json
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import BuildInput

WORK_FOLDER = ".build"
LOCK = ".lock"
"""In the output folder while it is built, and held by the builder."""


def require_free(config: BuildConfig) -> None:
    """Checks that the output folder is new, empty, or that of a build to resume.

    Raises:
        OutputError: It is not.
    """
    output = config.output_dir
    if (output / FILE_NAME).exists():
        raise OutputError(
            f"{output} holds a finished dataset already; choose another --output-dir or remove it"
        )
    if not output.exists():
        return
    if not output.is_dir():
        raise OutputError(f"--output-dir {output} is a file")
    names = {path.name for path in output.iterdir()} - {LOCK}
    if WORK_FOLDER in names:
        if not config.resume:
            raise OutputError(
                f"{output} holds an unfinished build; add --resume to continue it, or remove it"
            )
    elif names:
        raise OutputError(f"{output} is not empty; choose another --output-dir")


def alone(config: BuildConfig) -> AbstractContextManager[int]:
    """Returns a context that holds the output folder, which is made, for this process.

    Raises:
        OutputError: Another process builds in it.
    """
    output = config.output_dir
    busy = f"another process builds in {output}; wait for its end, or choose another --output-dir"
    return locks.alone(output / LOCK, busy)


def open_work_folder(config: BuildConfig, found: BuildInput) -> Path:
    """Returns the folder of this build in the work folder; settings and input never change there.

    Its name tells the run: a job of a build that was removed, which a cluster may still run, finds
    no folder to write into.

    Raises:
        DatasetError: The zones cannot be read.
        OutputError: The unfinished build had other settings or input.
    """
    work = config.output_dir / WORK_FOLDER
    settings = config.build_settings() | {"input": _fingerprint(found)}
    if config.zones is not None:
        settings["content of --zones"] = _digest_of_zones(config.zones)
    if config.compression == "gzip":
        settings["gzip level"] = GZIP_LEVEL  # Of this version; another one's shards stay apart.
    path = work / "build.json"
    if path.is_file():
        before = read_json(path)
        changed = changes(before, settings, unshown=("input", "content of --zones"))
        if changed:
            raise OutputError(
                f"the unfinished build in {config.output_dir} had other settings or input "
                f"({', '.join(changed)}); repeat them, or remove the folder"
            )
        run = str(before["run"])
    else:
        run = secrets.token_hex(4)
        write_json(path, settings | {"run": run})
    (work / run).mkdir(exist_ok=True)
    return work / run


def remove_work_folder(config: BuildConfig) -> None:
    """Removes the work folder with all that is in it."""
    shutil.rmtree(config.output_dir / WORK_FOLDER)


def _fingerprint(found: BuildInput) -> str:
    """Returns a digest of the input files' names, sizes and times, headers, and legends."""
    digest = hashlib.sha256()
    for raster, crosswalk in zip(found.rasters, found.crosswalks, strict=True):
        source = raster.source
        for path in filter(None, (source.image, source.label, source.validity)):
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        # The header too: GDAL keeps no data and scales in a file beside the raster at times.
        digest.update(f"{raster} {crosswalk.target} {sorted(crosswalk.codes.items())}\n".encode())
    digest.update(f"{found.earlier}".encode())
    return digest.hexdigest()[:16]


def _digest_of_zones(path: Path) -> str:
    try:
        return sha256_of(path)[:16]
    except OSError as error:
        raise DatasetError(f"cannot read --zones {path}: {error.strerror or error}") from error
