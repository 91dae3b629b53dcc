"""What lies in `--data-dir`: prepared scenes, folders of image/label pairs, or a list of pairs."""

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_tf.datasets.dataset_info import ProductInfo
from landcover_tf.errors import DatasetError, listed
from landcover_tf.sentinel2.prepared import (
    DOCUMENT,
    IMAGE,
    LABELS,
    VALIDITY,
    PreparedScene,
    find_prepared_scenes,
    upsampling_of,
)
from landcover_tf.system.tables import read_csv
from landcover_tf.upsampling import Upsampling

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png")
PAIR_COLUMNS = ("image", "label", "group", "split", "validity", "product")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One image raster with its labels, as found on disk."""

    id: str
    """Unique name; the first part of the keys of its patches."""
    image: Path
    label: Path
    validity: Path | None = None
    """Raster of validity bits on the image's grid."""
    trusted_validity: bool = False
    """`validity` already says where the image has no data, so the image need not be looked at."""
    group: str | None = None
    """What must stay in one split, from the list of pairs."""
    split: str | None = None
    """Split that the list of pairs prescribes."""
    legend: str | None = None
    """Name of the legend of the labels, when the scene knows it."""
    upsampling: Upsampling | None = None
    """How the coarse bands of a prepared scene came to 10 m."""
    product: ProductInfo


def find_sources(data_dir: Path) -> list[Source]:
    """Returns the sources in a data folder, sorted by id.

    Raises:
        DatasetError: The folder is missing, holds nothing of the three forms, or files are
            missing; every missing file is named.
    """
    if not data_dir.is_dir():
        raise DatasetError(f"--data-dir {data_dir} is not a folder")
    if (data_dir / "pairs.csv").is_file():
        sources = _listed_pairs(data_dir / "pairs.csv")
    elif (data_dir / DOCUMENT).is_file() or any(data_dir.glob(f"[!.]*/{DOCUMENT}")):
        sources = [_prepared_scene(scene) for scene in find_prepared_scenes(data_dir)]
    elif (data_dir / "images").is_dir() and (data_dir / "labels").is_dir():
        sources = _folder_pairs(data_dir / "images", data_dir / "labels")
    else:
        raise DatasetError(
            f"{data_dir} holds no input: expected prepared scenes (folders with scene.json, from "
            "`landcover prepare`), or the folders images/ and labels/, or a pairs.csv"
        )
    if not sources:
        raise DatasetError(f"{data_dir} names no image; there is nothing to build")
    _require_files(sources)
    _require_unique_ids(sources, data_dir)
    return sorted(sources, key=lambda source: source.id)


def _prepared_scene(scene: PreparedScene) -> Source:
    if not scene.has_labels:
        raise DatasetError(
            f"scene {scene.folder} has no labels.tif; run `landcover prepare` with --ground-truth"
        )
    return Source(
        id=scene.folder.name,
        image=scene.folder / IMAGE,
        label=scene.folder / LABELS,
        validity=scene.folder / VALIDITY,
        trusted_validity=True,
        legend=scene.legend,
        upsampling=upsampling_of(scene.document, scene.folder),
        product=ProductInfo(
            id=scene.name,
            path=str(scene.folder),
            baseline=scene.baseline,
            sensing_time=scene.sensing_time.isoformat(),
            tile=scene.tile,
            orbit=scene.orbit,
        ),
    )


def _folder_pairs(images: Path, labels: Path) -> list[Source]:
    """Returns pairs of rasters whose paths differ in the suffix at most."""
    label_of, image_of = _by_name(labels), _by_name(images)
    if not image_of:
        _refuse_without_rasters(images)
    alone = sorted(map(str, image_of.keys() - label_of.keys()))
    if alone:
        raise DatasetError(
            f"{len(alone)} images in {images} have no label raster of the same name in {labels}: "
            f"{listed(alone, 5)}"
        )
    spare = sorted(map(str, label_of.keys() - image_of.keys()))
    if spare:
        print(
            f"note: {len(spare)} label rasters in {labels} have no image of the same name in "
            f"{images} and are left out: {listed(spare, 5)}",
            file=sys.stderr,
        )
    return [
        Source(
            id=name.as_posix(),
            image=path,
            label=label_of[name],
            product=ProductInfo(id=name.as_posix(), path=str(path)),
        )
        for name, path in image_of.items()
    ]


def _refuse_without_rasters(folder: Path) -> None:
    others = Counter(p.suffix.lower() for p in folder.rglob("[!.]*") if p.is_file())
    found = ", ".join(f"{n} of {suffix or 'no suffix'}" for suffix, n in others.most_common(5))
    arrays = "; write arrays as GeoTIFF first, images and labels"
    raise DatasetError(
        f"{folder} holds no image: expected files that end in {', '.join(RASTER_SUFFIXES)}, found "
        f"{found or 'no file'}{arrays if {'.npy', '.npz'} & others.keys() else ''}"
    )


def _by_name(folder: Path) -> dict[Path, Path]:
    """Returns the rasters in a folder by their path in it without the suffix."""
    found: dict[Path, Path] = {}
    for path in sorted(p for p in folder.rglob("[!.]*") if p.suffix.lower() in RASTER_SUFFIXES):
        first = found.setdefault(path.relative_to(folder).with_suffix(""), path)
        if first != path:
            raise DatasetError(f"{first} and {path} have one name; which of them is meant?")
    return found


def _listed_pairs(path: Path) -> list[Source]:
    try:
        table = read_csv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is no CSV in UTF-8: {error}") from error
    names = [name.lower() for name in table.columns]
    if not {"image", "label"} <= set(names) <= set(PAIR_COLUMNS):
        raise DatasetError(
            f"{path} has the columns {', '.join(table.columns) or 'none'}; expected image, label "
            "and, as needed, group, split, validity, product"
        )
    lines = [_values(path, *row) for row in zip(table.lines, table.rows, strict=True)]
    ids = _ids_of([values["image"] for values in lines], path.parent)
    return [_listed_pair(path.parent, *pair) for pair in zip(ids, lines, strict=True)]


def _values(path: Path, line: int, row: dict[str, str | None]) -> dict[str, str]:
    values = {name.lower(): (text or "").strip() for name, text in row.items() if name is not None}
    if not values["image"] or not values["label"]:
        raise DatasetError(f"{path}, line {line}, lacks an image or a label")
    for column in {"image", "label", "validity"} & values.keys():
        if not (path.parent / values[column]).exists():  # Lists of Windows have its separator.
            values[column] = values[column].replace("\\", "/")
    return values


def _ids_of(images: Sequence[str], folder: Path) -> list[str]:
    """Returns the names of listed images: their paths without suffix, from `folder`.

    Of absolute paths and parents, which say where the list was made and not what the image is, it
    is the file's name, or where these collide the part below their common parent.
    """
    stems = [Path(image).with_suffix("") for image in images]
    placed = [stem.is_absolute() or ".." in stem.parts for stem in stems]
    names = [s.name if away else s.as_posix() for s, away in zip(stems, placed, strict=True)]
    if len({*names}) == len(names) or not any(placed):
        return names
    whole = [Path(os.path.normpath(folder.absolute() / stem)) for stem in stems]
    parents = [path.parent for path, away in zip(whole, placed, strict=True) if away]
    common = Path(os.path.commonpath(parents))
    return [
        path.relative_to(common).as_posix() if away else name
        for path, away, name in zip(whole, placed, names, strict=True)
    ]


def _listed_pair(folder: Path, name: str, values: Mapping[str, str]) -> Source:
    image, validity = folder / values["image"], values.get("validity")
    return Source(
        id=name,
        image=image,
        label=folder / values["label"],
        validity=folder / validity if validity else None,
        group=values.get("group") or None,
        split=values.get("split") or None,
        product=ProductInfo(id=values.get("product") or name, path=str(image)),
    )


def _require_files(sources: Iterable[Source]) -> None:
    missing = [
        str(path)
        for source in sources
        for path in (source.image, source.label, source.validity)
        if path is not None and not path.is_file()
    ]
    if missing:
        raise DatasetError(f"{len(missing)} input files are missing: {listed(missing, 5)}")


def _require_unique_ids(sources: Iterable[Source], where: Path) -> None:
    twice = sorted(name for name, n in Counter(source.id for source in sources).items() if n > 1)
    if twice:
        raise DatasetError(
            f"{where} names {listed(twice, 5)} more than once; give each image a file name of its "
            "own"
        )
