"""Which points lie in which polygon."""

import json
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_builder.footprints import PatchPlace
from tfrecords_builder.zones import edge_spans, inside_of, prescribed_splits, zones_of

points_on_a_grid = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


def brute_force(points, rings):
    """Every point against every edge, by the even-odd rule."""
    found = []
    for number, (x, y) in enumerate(points):
        edges = [edge for ring in rings for edge in pairwise(ring)]
        met = [
            (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
            for (x0, y0), (x1, y1) in edges
        ]
        if sum(met) % 2:
            found.append(number)
    return found


@settings(max_examples=80)
@given(
    shapes=st.lists(st.lists(points_on_a_grid, min_size=1, max_size=2), max_size=3),
    points=st.lists(st.tuples(st.integers(-1, 14), st.integers(-1, 14)), max_size=20),
)
def test_points_inside_polygons_agree_with_brute_force(shapes, points):
    # Half steps: some points lie as high as a corner, or on an edge.
    where = np.array(points, float).reshape(-1, 2) / 2
    closed = [[np.array([*ring, ring[0]], float) for ring in rings] for rings in shapes]
    found = [inside.tolist() for inside in inside_of(closed, where)]
    assert found == [brute_force(where, rings) for rings in closed]


def test_edges_are_compared_with_points_of_their_height_only():
    angle = np.linspace(0, 2 * np.pi, 2001)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    y = np.sort(np.random.default_rng(0).uniform(-100, 100, 10_000))
    spans = edge_spans(circle, y)
    # A hundredth of the points is as high as the circle, and meets two of its 2000 edges.
    assert np.diff(spans).sum() == 2 * np.count_nonzero(np.abs(y) < 1)


def test_the_first_zone_with_a_geometry_counts(tmp_path, capsys):
    ring = [[0, 0], [400, 0], [400, 400], [0, 400], [0, 0]]
    features = [
        {"properties": {"zone": "lost", "split": "val"}, "geometry": None},
        {
            "properties": {"zone": "land"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        },
        {
            "properties": {"zone": "also here"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        },
    ]
    path = tmp_path / "zones.geojson"
    crs = {"properties": {"name": "EPSG:32633"}}
    path.write_text(json.dumps({"crs": crs, "features": features}))
    place = PatchPlace(
        crs="EPSG:32633", raster="a", transform=(10.0, 0.0, 0.0, 0.0, -10.0, 160.0),
        row_off=0, col_off=0, height=16, width=16,
    )  # fmt: skip
    (zone,) = zones_of([place], path)
    assert zone is not None
    assert zone.name == "land"
    assert capsys.readouterr().err == f"note: 1 features of {path} without geometry are left out\n"
    assert prescribed_splits(path, {("EPSG:32633", (0.0, 0.0, 160.0, 160.0))}) == {None}


def test_splits_of_zones_on_both_sides_of_the_antimeridian(tmp_path, capsys):
    def feature(split, west):
        ring = [[west, 0], [west + 0.1, 0], [west + 0.1, 0.1], [west, 0.1], [west, 0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"properties": {"split": split}, "geometry": geometry}

    path = tmp_path / "zones.geojson"
    features = [feature("train", 179.9), feature("val", -180), feature("test", 90)]
    path.write_text(json.dumps({"features": features}))
    # 180 degrees of longitude are at about 834 km east in zone 60.
    image = ("EPSG:32660", (824_000.0, 0.0, 844_000.0, 10_000.0))
    assert prescribed_splits(path, {image}) == {"train", "val"}
    assert "for test lie outside the images" in capsys.readouterr().err
    # What the CRS of the zones cannot express may lie anywhere.
    for unknown in (("EPSG:32633", (1e9, 1e9, 1e9 + 1, 1e9 + 1)), ("", (0.0, 0.0, 1.0, 1.0))):
        assert prescribed_splits(path, {unknown}) == {"train", "val", "test"}
