"""The legend of a dataset, and the crosswalks to it from those of the sources' labels."""

import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_tf.crosswalk import Crosswalk, load_crosswalk
from landcover_tf.errors import LegendError
from landcover_tf.legend import DEFAULT_LEGEND, legend_names, load_legend
from landcover_tf.rasters.raster_legends import source_legends
from tfrecords_builder.checks import raise_problems
from tfrecords_builder.rasters import SourceRaster
from tfrecords_builder.sources import Source


def legend_of(sources: Sequence[Source], source_legend: str | None) -> str:
    """Returns the legend that all scenes are in, or else the usual one.

    Raises:
        LegendError: The file of the scenes' legend is not there.
    """
    named = sorted({source.legend for source in sources if source.legend})
    if named and source_legend:  # Which is theirs; their own file may have moved.
        named = [source_legend]
    try:
        names = {load_legend(name).name for name in named}
    except LegendError as error:
        raise LegendError(
            f"the scenes' labels are in {', '.join(named)}; where that file lies elsewhere now, "
            f"say so by --source-legend: {error}"
        ) from error
    if len(names) != 1:
        return DEFAULT_LEGEND
    if named[0] != DEFAULT_LEGEND:
        print(f"the dataset is in legend {named[0]}, as the scenes are; --legend names another")
    return named[0]


def crosswalks_of(
    rasters: Sequence[SourceRaster], source_legend: str | None, legend: str
) -> tuple[Crosswalk, ...]:
    """Returns the crosswalk of each source's labels to the dataset's legend; tells of merged codes.

    Without a source legend, labels are in that of their scene, or else in the one that their tag
    or colours name, or else in the dataset's.

    Raises:
        LegendError: There is no such legend or no crosswalk, labels name another legend than the
            source legend, or labels of ESA's WorldCover name none.
    """
    tags = {r.source.label: r.label_legend for r in rasters if not r.source.legend}
    of_label = source_legends(tags, legend, legend, given=source_legend)
    names: list[str | Path] = [
        str(source_legend or raster.source.legend or of_label[raster.source.label])
        for raster in rasters
    ]
    of_name = {name: load_crosswalk(name, legend) for name in sorted(set(names), key=str)}
    for crosswalk in of_name.values():
        if merged := crosswalk.merged:
            print(f"note: {merged}")
    return tuple(of_name[name] for name in names)


def warn_of_hidden_classes(
    rasters: Sequence[SourceRaster], crosswalks: Sequence[Crosswalk]
) -> None:
    """Warns of label rasters that declare the code of a class no data."""
    hidden = [
        (raster, crosswalk)
        for raster, crosswalk in zip(rasters, crosswalks, strict=True)
        if crosswalk.hides_class(raster.label_nodata)
    ]
    if hidden:
        raster, crosswalk = hidden[0]
        print(
            f"warning: {len(hidden)} label rasters, {raster.source.label} first, declare code "
            f"{raster.label_nodata:g} no data, which is a class of {crosswalk.source}; its pixels "
            "are unlabelled, unset that (gdal_edit.py -unsetnodata) if they should not be",
            file=sys.stderr,
        )


def require_unprepared(sources: Sequence[Source], asked: str) -> None:
    """Refuses a source legend for labels that already have the codes of another one.

    Raises:
        DatasetError: There are such labels.
    """
    problems = []
    for source in sources:
        # A scene's own legend file may have moved; --source-legend then says where it is.
        known = source.legend in legend_names() or Path(str(source.legend)).is_file()
        if source.legend and known and load_legend(source.legend).name != load_legend(asked).name:
            problems.append(f"scene {source.id}'s labels are already in {source.legend}")
    raise_problems(problems, f"--source-legend {asked} does not fit the labels; leave it out")
