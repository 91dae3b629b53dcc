"""Downloads from a local server that speaks the public services' interfaces."""

import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.object_store import MAP, N36E021, ObjectStore, quick_client, serving, stac_item

pytest.importorskip("requests")

from landcover_tf import fetch
from landcover_tf.errors import OutputError
from landcover_tf.sentinel2.fetch_bucket import Bucket, RemoteProduct
from landcover_tf.sentinel2.fetch_http import NotFoundError
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.simulation import simulate_product
from landcover_tf.system.locks import alone

FOLDER = "bucket/tiles/34/S/EH/"
TILE = (21.0, 37.86, 22.25, 38.84)
"""Tile 34SEH: west, south, east, north."""


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> list[Path]:
    """A clear, a cloudy and a reprocessed product of one tile, and a clear one a year later."""
    folder = tmp_path_factory.mktemp("remote")
    june, july = datetime(2021, 6, 22, 9, tzinfo=UTC), datetime(2021, 7, 2, 9, tzinfo=UTC)
    later = datetime(2022, 6, 7, 9, tzinfo=UTC)
    return [
        simulate_product(
            folder, size_px=60, sensing_time=time, baseline=baseline, cloud_fraction=clouds
        ).path
        for time, baseline, clouds in (
            (june, "03.01", 0.04),
            (june, "05.00", 0.04),
            (july, "03.01", 0.6),
            (later, "04.00", 0.0),
        )
    ]


@pytest.fixture
def store(products):
    """The server, holding the products and one WorldCover tile."""
    held = ObjectStore()
    for product in products:
        for path in product.rglob("*"):
            if path.is_file():
                name = f"{FOLDER}{product.name}/{path.relative_to(product).as_posix()}"
                held.objects[name] = path.read_bytes()
        # What the real bucket has beside files: marks of folders, and products before 2016.
        held.objects[f"{FOLDER}{product.name}_$folder$"] = b""
        held.objects[f"{FOLDER}{product.name}/HTML_$folder$"] = b""
    held.objects[f"{FOLDER}S2A_OPER_PRD_MSIL1C_PDMC_20160905T104813.SAFE/x.xml"] = b"old"
    held.objects[MAP] = bytes(range(256)) * 4000
    with serving(held) as running:
        yield running


def arguments(store: ObjectStore, folder: Path, *flags: str) -> list[str]:
    return [
        *("--tile", "34SEH", "--start", "2021-06-01", "--end", "2021-08-31"),
        *("--output-dir", str(folder)),
        *store.flags,
        *flags,
    ]


def run(store: ObjectStore, folder: Path, *flags: str) -> int:
    return fetch.main(arguments(store, folder, *flags))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_fetches_the_clear_product_of_the_higher_baseline(store, products, tmp_path, capsys):
    assert run(store, tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"next: landcover prepare --sentinel2-dir {tmp_path}/products "
        f"--ground-truth {tmp_path}/worldcover --source-legend worldcover --output-dir scenes"
    )
    [fetched] = (tmp_path / "products").iterdir()
    assert fetched.name == products[1].name
    assert digests(fetched) == digests(products[1])
    assert open_product(fetched).tile == "34SEH"
    assert (tmp_path / "worldcover" / N36E021).read_bytes() == store.objects[MAP]
    sources = json.loads((tmp_path / "sources.json").read_text())
    assert sources["sources"][0]["product"] == products[1].stem
    assert "Copernicus" in sources["attribution"][0]


def test_sources_of_several_runs_are_kept(store, products, tmp_path):
    assert run(store, tmp_path) == 0
    assert run(store, tmp_path, "--max-cloud", "100", "--no-worldcover") == 0
    sources = json.loads((tmp_path / "sources.json").read_text())["sources"]
    fetched = [source["product"] for source in sources if "product" in source]
    assert fetched == [products[1].stem, products[2].stem]
    assert [source["worldcover"] for source in sources if "worldcover" in source] == [N36E021]


def test_the_same_command_again_downloads_nothing(store, products, tmp_path):
    assert run(store, tmp_path) == 0
    before = digests(tmp_path)
    store.requests.clear()
    assert fetch.main(["--config", str(tmp_path / "fetch.json")]) == 0
    assert digests(tmp_path) == before
    fetched = [path for method, path, _ in store.requests if method == "GET"]
    # Only listings and the candidates' metadata.
    assert all(path.endswith(("/o", "MTD_MSIL1C.xml")) for path in fetched)


def test_dry_run_downloads_nothing(store, products, tmp_path, capsys):
    assert run(store, tmp_path / "out", "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(products[1].stem)
    assert "% cloud" in lines[0]
    assert lines[1].startswith(N36E021) and "1.0 MB" in lines[1]
    assert "nothing was downloaded" in lines[2]


def test_broken_lines_are_continued_where_they_broke(store, products, tmp_path):
    band = next(n for n in store.objects if products[1].name in n and n.endswith("_B02.jp2"))
    store.faults[band] = ["cut", "503", "cut"]
    store.faults[MAP] = ["", "cut"]  # The first request asks for the headers.
    store.faults["storage/v1/b/bucket/o"] = ["500", "429"]
    assert run(store, tmp_path) == 0
    fetched = tmp_path / "products" / products[1].name
    assert digests(fetched) == digests(products[1])
    assert len(store.gets(band)) == 4
    # Half of 1 024 000 bytes came, of which seven chunks of 65 536 bytes were complete.
    assert store.gets(MAP) == ["", "bytes=458752-"]
    assert (tmp_path / "worldcover" / N36E021).read_bytes() == store.objects[MAP]


def test_an_interrupted_run_is_continued(store, products, tmp_path):
    band = next(n for n in store.objects if products[1].name in n and n.endswith("_B03.jp2"))
    store.faults[band] = ["503", "503"]
    assert run(store, tmp_path, "--attempts", "2", "--jobs", "1") == 2
    # Nothing looks finished that is not.
    assert not list((tmp_path / "products").glob("S2*"))
    store.requests.clear()
    store.faults[MAP] = ["", "cut", "503"]
    assert run(store, tmp_path, "--attempts", "2") == 2
    first = next(n for n in store.objects if products[1].name in n and n.endswith("_B01.jp2"))
    assert (store.gets(first), store.gets(band)) == ([], [""])
    store.requests.clear()
    assert run(store, tmp_path) == 0
    assert store.gets(MAP) == ["bytes=458752-"]
    assert digests(tmp_path / "products" / products[1].name) == digests(products[1])


def test_two_runs_do_not_write_one_product_at_the_same_time(store, products, tmp_path):
    name = products[1].name.removesuffix(".SAFE")
    command = [sys.executable, "-m", "landcover_tf.fetch", *arguments(store, tmp_path)]
    with alone(tmp_path / f".{name}.lock", "the first"):
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        waits = second.stdout.readline()
        assert waits == f"another process writes {name} in {tmp_path}; waiting for its end\n"
        assert not (tmp_path / "products").exists()
    second.communicate()
    assert second.returncode == 0
    assert digests(tmp_path / "products" / products[1].name) == digests(products[1])
    assert not list(tmp_path.glob(".*"))


def test_damaged_files_are_fetched_again(store, products, tmp_path):
    band = next(n for n in store.objects if products[1].name in n and n.endswith("_B04.jp2"))
    store.faults[band] = ["garble"]
    assert run(store, tmp_path) == 0
    target = tmp_path / "products" / products[1].name / band.split(".SAFE/")[1]
    good = target.read_bytes()
    # Damage on disk, of the same size, is found by the hash and mended in place.
    target.write_bytes(bytes(len(good)))
    assert run(store, tmp_path) == 0
    assert target.read_bytes() == good


def test_gives_up_with_one_sentence(store, products, tmp_path, capsys):
    band = next(n for n in store.objects if products[1].name in n and n.endswith("_B04.jp2"))
    store.faults[band] = ["garble"] * 9
    assert run(store, tmp_path, "--attempts", "2") == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert "came damaged" in message and "gave up after 2 attempts" in message
    assert not list((tmp_path / "products").glob("S2*"))


def test_stac_search_filters_here(store, products, tmp_path):
    pytest.importorskip("pystac_client")

    def item(identity: str, uri: str | None, clouds: float, day: str) -> dict:
        properties = {"datetime": f"{day}T09:26:40Z", "eo:cloud_cover": clouds}
        return stac_item(identity, TILE, **properties, **({"s2:product_uri": uri} if uri else {}))

    other_tile = products[0].stem.replace("T34SEH", "T34SFH")
    store.items = [
        item(products[0].stem, None, 4.0, "2021-06-22"),
        item("S2A_34SEH_20210622_1_L1C", products[1].name, 4.0, "2021-06-22"),
        item(products[2].stem, None, 60.0, "2021-07-02"),
        item(other_tile, None, 0.0, "2021-06-22"),
        item("something-else", None, 0.0, "2021-06-23"),
    ]
    assert run(store, tmp_path, "--stac-url", f"{store.url}/stac/", "--no-worldcover") == 0
    assert [p.name for p in (tmp_path / "products").iterdir()] == [products[1].name]
    # Two pages of two items each were turned after the first.
    assert sum(method == "POST" for method, _, _ in store.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "Collection", "id": "sentinel-2-l1c", "stac_version": "1.0.0", "links": []},
        {"type": "Catalog", "stac_version": "1.0.0", "links": []},
        {"foo": 1},
        [1, 2],
    ],
)
def test_what_is_no_stac_api_is_told(store, tmp_path, capsys, answer):
    pytest.importorskip("pystac_client")
    store.objects["other.json"] = json.dumps(answer).encode()
    assert run(store, tmp_path, "--stac-url", f"{store.url}/other.json") == 2
    assert f"error: {store.url}/other.json does not answer as" in capsys.readouterr().err


def test_clouds_of_stac_that_are_no_number_are_told(store, products, tmp_path, capsys):
    pytest.importorskip("pystac_client")
    properties = {"datetime": "2021-06-22T09:26:40Z", "eo:cloud_cover": "many"}
    store.items = [stac_item(products[0].stem, TILE, **properties)]
    assert run(store, tmp_path, "--stac-url", f"{store.url}/stac/") == 2
    assert "failed: could not convert string to float: 'many'" in capsys.readouterr().err


def test_stac_search_finds_what_covers_a_rim_of_the_tile(store, products, tmp_path):
    pytest.importorskip("pystac_client")
    time = {"datetime": "2021-06-22T09:26:40Z"}
    # The swath ends west of the tile's middle; the other one lies beside the tile.
    west = stac_item(products[1].stem, (21.0, 37.86, 21.4, 38.84), **time)
    beside = stac_item(products[0].stem, (23.0, 37.86, 23.4, 38.84), **time)
    store.items = [west, beside]
    flags = ("--stac-url", f"{store.url}/stac/", "--no-worldcover")
    # Neither tells its clouds, which the product's own metadata do.
    assert run(store, tmp_path / "out", *flags) == 0
    assert [p.name for p in (tmp_path / "out" / "products").iterdir()] == [products[1].name]
    assert run(store, tmp_path / "clear", *flags, "--max-cloud", "1") == 1


def test_incomplete_products_are_left_out(store, products, tmp_path, capsys):
    del store.objects[f"{FOLDER}{products[1].name}/MTD_MSIL1C.xml"]
    assert run(store, tmp_path, "--no-worldcover") == 0
    # The sight's lower baseline takes its place.
    assert [p.name for p in (tmp_path / "products").iterdir()] == [products[0].name]
    assert f"note: {products[1].stem} is left out: " in capsys.readouterr().err


def test_products_of_stac_that_the_bucket_lacks_are_left_out(store, products, tmp_path, capsys):
    pytest.importorskip("pystac_client")
    properties = {"datetime": "2021-06-22T09:26:40Z", "eo:cloud_cover": 4.0}
    store.items = [stac_item(p.stem, TILE, **properties) for p in (products[0], products[1])]
    del store.objects[f"{FOLDER}{products[1].name}/MTD_MSIL1C.xml"]
    flags = ("--stac-url", f"{store.url}/stac/", "--no-worldcover")
    assert run(store, tmp_path, *flags, "--limit", "1") == 0
    assert [p.name for p in (tmp_path / "products").iterdir()] == [products[0].name]
    assert "has no complete S2A" in capsys.readouterr().err
    del store.objects[f"{FOLDER}{products[0].name}/MTD_MSIL1C.xml"]
    assert run(store, tmp_path / "none", *flags) == 1


def test_nothing_found_is_a_finding(store, tmp_path, capsys):
    assert run(store, tmp_path / "out", "--max-cloud", "1") == 1
    assert "has at most 1 % cloud" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_product_that_the_bucket_lacks(store):
    bucket = Bucket(
        client=quick_client(),
        listing_url=f"{store.url}/storage/v1/b/bucket/o",
        download_url=f"{store.url}/bucket",
    )
    name = "S2B_MSIL1C_20210627T092029_N0300_R093_T34SEH_20210627T112233"
    with pytest.raises(NotFoundError, match="no complete S2B"):
        bucket.files(RemoteProduct(name=name))


@pytest.mark.parametrize("name", ["../../evil.xml", "..\\evil.xml"])
def test_listing_cannot_write_outside_the_product(store, products, tmp_path, capsys, name):
    store.objects[f"{FOLDER}{products[1].name}/{name}"] = b"evil"
    assert run(store, tmp_path) == 2
    assert "does not lie in" in capsys.readouterr().err


def test_full_disk_is_refused_before_the_download(store, products, tmp_path, free_space):
    free_space(10)
    bucket = Bucket(
        client=quick_client(),
        listing_url=f"{store.url}/storage/v1/b/bucket/o",
        download_url=f"{store.url}/bucket",
    )
    with pytest.raises(OutputError, match="GB free"):
        bucket.download(RemoteProduct(name=products[1].stem), tmp_path, jobs=1)


def test_limit_keeps_the_clearest(store, products, tmp_path):
    flags = ("--end", "2022-12-31", "--max-cloud", "100", "--limit", "1", "--no-worldcover")
    assert run(store, tmp_path, *flags) == 0
    assert [p.name for p in (tmp_path / "products").iterdir()] == [products[3].name]


@pytest.mark.parametrize("stac", [False, True])
def test_limit_keeps_what_sees_most_of_the_tile(store, products, tmp_path, capsys, stac):
    # July sees all of the tile and June, at the swath's edge, a third of it, clearer than that.
    boxes = {products[1].stem: (21.0, 37.86, 21.4, 38.84), products[2].stem: TILE}
    for name, (left, low, right, high) in boxes.items():
        ring = f"{high} {left} {high} {right} {low} {right} {low} {left} {high} {left}"
        path = f"{FOLDER}{name}.SAFE/MTD_MSIL1C.xml"
        store.objects[path], number = re.subn(
            rb"(?<=<EXT_POS_LIST>)[^<]+", ring.encode(), store.objects[path]
        )
        assert number == 1
    flags = ["--max-cloud", "100", "--limit", "1", "--no-worldcover", "--dry-run"]
    if stac:
        pytest.importorskip("pystac_client")
        store.items = [
            stac_item(name, box, datetime="2021-06-22T09:26:40Z", **{"eo:cloud_cover": clouds})
            for (name, box), clouds in zip(boxes.items(), (4.0, 60.0), strict=True)
        ]
        flags += ["--stac-url", f"{store.url}/stac/"]
    assert run(store, tmp_path / "out", *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(products[2].stem) and len(lines) == 2
    # The box lies a little inside of the square.
    assert " % of the tile " in lines[0]
    assert 94 < float(lines[0].split(" % of the tile")[0].split()[-1]) < 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--start", "June"], "YYYY-MM-DD"),
        (["--end", "2021-01-01"], "lies before the start"),
        (["--max-cloud", "120"], r"max_cloud must be in"),
        (["--limit", "0"], "limit must be at least 1"),
        (["--tile", "34XXX"], "got '34XXX'"),
        (["--jobs", "0"], "must be at least 1"),
    ],
)
def test_refuses_bad_flags(store, tmp_path, capsys, flags, message):
    assert run(store, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
