"""What is asked of the public services: products by their names, WorldCover by its cells."""

from datetime import UTC, datetime

import pytest
from fakes.object_store import MAP, N36E021, ObjectStore, quick_client, serving

pytest.importorskip("requests")

from landcover_tf.errors import ConfigError
from landcover_tf.sentinel2.fetch_bucket import RemoteProduct
from landcover_tf.sentinel2.fetch_search import Wanted, latest_processings
from landcover_tf.sentinel2.fetch_worldcover import WorldCover, cells_of
from landcover_tf.sentinel2.tiles import parse_tile


@pytest.fixture
def store():
    """The server, holding one WorldCover tile."""
    held = ObjectStore()
    held.objects[MAP] = bytes(range(256)) * 4000
    with serving(held) as running:
        yield running


def test_names_tell_sight_and_baseline():
    start = "S2A_MSIL1C_20210622T092631"
    old = RemoteProduct(name=f"{start}_N0301_R093_T34SEH_20210622T095640")
    new = RemoteProduct(name=f"{start}_N0500_R093_T34SEH_20230101T000000")
    other_part = RemoteProduct(name=f"{start}_N0500_R093_T34SEH_20230202T000000")
    assert old.sensing_time == datetime(2021, 6, 22, 9, 26, 31, tzinfo=UTC)
    assert (old.tile, old.baseline) == ("34SEH", (3, 1))
    assert latest_processings([other_part, old, new]) == [new, other_part]
    with pytest.raises(ValueError, match="Level-1C product"):
        RemoteProduct(name=old.name.replace("MSIL1C", "MSIL2A"))


@pytest.mark.parametrize(
    ("bounds", "cells"),
    [
        # Tile 34SEH reaches from 37.85 to 38.85 N, 21.0 to 22.3 E: one cell.
        ((21.01, 37.85, 22.26, 38.85), [(36, 21)]),
        # Over a corner of four cells, in the southern and western hemispheres.
        ((-0.5, -0.5, 0.5, 0.5), [(-3, -3), (-3, 0), (0, -3), (0, 0)]),
        # Over the antimeridian.
        ((179.5, -16.3, -179.7, -15.4), [(-18, 177), (-18, -180)]),
        # A sliver of 20 m in the next cell is not worth a file.
        ((20.9998, 37.85, 22.26, 38.85), [(36, 21)]),
        # Edges on cell borders take no neighbour.
        ((21.0, 36.0, 24.0, 39.0), [(36, 21)]),
        # North of the map there is none.
        ((15.0, 84.5, 16.0, 85.0), []),
    ],
)
def test_worldcover_cells(bounds, cells):
    assert cells_of(bounds) == cells


def test_worldcover_names_and_missing_tiles(store, tmp_path):
    maps = WorldCover(client=quick_client(), url=f"{store.url}/worldcover")
    # Tile 22KGV lies around 49 W, 23 S.
    assert maps.names([parse_tile("22KGV")]) == [
        "ESA_WorldCover_10m_2021_v200_S24W051_Map.tif",
        "ESA_WorldCover_10m_2021_v200_S24W048_Map.tif",
    ]
    assert maps.names([parse_tile("34SEH")] * 2) == [N36E021]
    assert maps.download("ESA_WorldCover_10m_2021_v200_N00W030_Map.tif", tmp_path) is None
    older = WorldCover(client=quick_client(), year=2020)
    assert "/v100/2020/map/ESA_WorldCover_10m_2020_v100_" in older.address(
        older.names([parse_tile("34SEH")])[0]
    )
    with pytest.raises(ConfigError, match="2020 and 2021"):
        WorldCover(client=quick_client(), year=2019)


def test_wanted_days_are_inclusive():
    product = RemoteProduct(name="S2A_MSIL1C_20210622T092631_N0301_R093_T34SEH_20210622T095640")
    day = datetime(2021, 6, 22).date()
    assert Wanted(start=day, end=day, max_cloud=10).on_day(product)
