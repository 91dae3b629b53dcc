"""Products are read as their XML says, whatever their age, name or packing."""

import os
import stat
import tempfile
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio
from fakes import tiny_safe
from fakes.tiny_safe import band_file, write_safe, zip_safe

from landcover_tf.bands import BAND_NAMES
from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.container import UnreadableError
from landcover_tf.sentinel2.discovery import find_product_paths, superseded
from landcover_tf.sentinel2.safe import open_product


@pytest.fixture
def as_nobody():
    """A folder of a user whom permissions bind, as which the test runs; root may read all."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@contextmanager
def locked(*paths):
    for path in paths:
        path.chmod(0)
    yield
    for path in paths:
        path.chmod(0o755)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_fields_of_a_new_product(tmp_path):
    product = open_product(write_safe(tmp_path, satellite="2C"))
    assert product.name == "S2C_MSIL1C_20250925T092041_N0511_R093_T34SEH_20250925T111407"
    assert product.satellite == "S2C"
    assert product.baseline == (5, 11) and product.baseline_text == "05.11"
    assert product.sensing_time == datetime(2025, 9, 25, 9, 31, 2, 500000, UTC)
    assert product.datatake_start == datetime(2025, 9, 25, 9, 20, 41, 24000, UTC)
    assert (product.tile, product.orbit) == ("34SEH", 93)
    assert product.crs.to_epsg() == 32634
    assert product.quantification == 10000
    assert (product.nodata, product.saturated) == (0, 65535)
    assert product.offsets == dict.fromkeys(BAND_NAMES, -1000.0)
    assert list(product.band_files) == list(BAND_NAMES)
    assert product.center_nm["B8A"] == 408.5  # The product's own, not S2A's.
    assert product.grids[60].height == 20
    assert product.grids[60].transform[:6] == (60, 0, 499980, 0, -60, 4200000)
    assert (product.sun_zenith_deg, product.sun_azimuth_deg) == (45, 135)
    assert product.cloud_percentage == 7.5


def test_band_order_has_b8a_after_b08():
    # Sorting the names would put B8A last and shift five channels.
    assert BAND_NAMES.index("B8A") == 8
    assert list(BAND_NAMES) != sorted(BAND_NAMES)


def test_offset_is_decided_by_its_presence_and_not_by_baseline_or_date(tmp_path):
    old_with = open_product(write_safe(tmp_path / "a", baseline="03.01"))
    new_without = open_product(write_safe(tmp_path / "b", baseline="05.11", offsets=None))
    assert set(old_with.offsets.values()) == {-1000}
    assert set(new_without.offsets.values()) == {0}


def test_offsets_go_by_band_id_to_the_right_band(tmp_path):
    product = open_product(write_safe(tmp_path, offsets=[-i for i in range(13)]))
    assert product.offsets["B8A"] == -8 and product.offsets["B09"] == -9
    assert product.offsets["B12"] == -12


def test_incomplete_offset_list_is_refused(tmp_path):
    root = write_safe(tmp_path, offsets=(-1000,) * 12)
    with pytest.raises(ProductError, match="RADIO_ADD_OFFSET is missing for B12"):
        open_product(root)


def test_baselines_compare_as_numbers(tmp_path):
    found = [
        open_product(write_safe(tmp_path / b, baseline=b)).baseline
        for b in ("02.04", "03.01", "04.00", "05.09", "05.11", "79.90")
    ]
    assert found == sorted(found)
    assert open_product(next((tmp_path / "79.90").iterdir())).baseline >= (4, 0)


def test_quantification_and_special_values_come_from_the_xml(tmp_path):
    root = write_safe(tmp_path, quantification="1000")
    edit(root / "MTD_MSIL1C.xml", "<SPECIAL_VALUE_INDEX>0<", "<SPECIAL_VALUE_INDEX>1<")
    product = open_product(root)
    assert (product.quantification, product.nodata) == (1000, 1)


def test_southern_hemisphere(tmp_path):
    product = open_product(write_safe(tmp_path, tile="53HQV", epsg=32753))
    assert product.crs.to_epsg() == 32753 and product.tile == "53HQV"


def test_files_are_found_by_name_when_the_xml_lists_others(tmp_path):
    root = write_safe(tmp_path)
    edit(root / "MTD_MSIL1C.xml", "T34SEH_20250925T092041_B", "S2A_OPER_B")
    assert open_product(root).band_files["B8A"].endswith("T34SEH_20250925T092041_B8A.jp2")


def test_real_metadata_of_2017(shared_data):
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    product = open_product(folder)
    assert product.baseline == (2, 4)
    assert product.tile == "32TNM" and product.crs.to_epsg() == 32632
    assert set(product.offsets.values()) == {0}
    assert len(product.band_files) == 13
    assert {m.kind for m in product.masks} == {
        "CLOUDS", "DEFECT", "DETFOO", "NODATA", "SATURA", "TECQUA",
    }  # fmt: skip
    assert len(product.mask_files("DETFOO")) == 13
    assert product.mask_files("DETFOO")[8].band == "B8A"
    assert product.sun_zenith_deg == pytest.approx(52.6712, abs=1e-4)
    assert product.cloud_percentage == 0.1491
    assert product.center_nm["B12"] == 2202.4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Level-1C<", "Level-2A<", "is Level-2A; expected Level-1C"),
        ("<QUANTIFICATION_VALUE", "<X", "lacks QUANTIFICATION_VALUE|not valid XML"),
        (">10000<", ">ten<", "QUANTIFICATION_VALUE must be a number, got 'ten'"),
        (">10000<", ">0<", "must be positive"),
        (">05.11<", ">five<", "PROCESSING_BASELINE must be NN.NN"),
        (">SATURATED<", ">OTHER<", "lacks the special value SATURATED"),
        ("2025-09-25T09:20:41.024Z</DATATAKE", "soon</DATATAKE", "must be a time, got 'soon'"),
        ("</n1:Level-1C_User_Product>", "", "is not valid XML"),
    ],
)
def test_damaged_product_metadata_is_named(tmp_path, old, new, message):
    root = write_safe(tmp_path)
    edit(root / "MTD_MSIL1C.xml", old, new)
    with pytest.raises(ProductError, match=message):
        open_product(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<ZENITH_ANGLE", "<X", "lacks Mean_Sun_Angle/ZENITH_ANGLE|not valid XML"),
        ("EPSG:32634", "EPSG:1", "HORIZONTAL_CS_CODE 'EPSG:1' is unknown"),
        ("_T34SEH_", "_", "names no MGRS tile"),
        ("<XDIM>20<", "<XDIM>25<", "expected 20 m pixels"),
        ("<NROWS>20<", "<NROWS>19<", "do not cover"),
    ],
)
def test_damaged_tile_metadata_is_named(tmp_path, old, new, message):
    root = write_safe(tmp_path)
    edit(next(root.glob("GRANULE/*/MTD_TL.xml")), old, new)
    with pytest.raises(ProductError, match=message):
        open_product(root)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b", ".hidden", ".."])
def test_a_name_cannot_lead_elsewhere(tmp_path, name):
    root = write_safe(tmp_path)
    edit(root / "MTD_MSIL1C.xml", f"<PRODUCT_URI>{root.name}", f"<PRODUCT_URI>{name}.SAFE")
    with pytest.raises(ProductError, match="PRODUCT_URI must be a product's name"):
        open_product(root)


def test_what_is_not_a_product_is_named(tmp_path):
    with pytest.raises(ProductError, match="does not exist"):
        open_product(tmp_path / "nothing.SAFE")
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(ProductError, match=r"is not a Sentinel-2 Level-1C product"):
        open_product(tmp_path / "empty.SAFE")
    (tmp_path / "empty.SAFE" / "MTD_MSIL2A.xml").write_text("<x/>")
    with pytest.raises(ProductError, match=r"is a Level-2A product.*expected Level-1C"):
        open_product(tmp_path / "empty.SAFE")
    old = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160905T104813_R088.SAFE"
    old.mkdir()
    (old / "S2A_OPER_MTD_SAFL1C_PDMC_20160905T104813_R088.xml").write_text("<x/>")
    with pytest.raises(ProductError, match="before 6 December 2016"):
        open_product(old)


def test_entities_in_xml_are_refused(tmp_path):
    root = write_safe(tmp_path)
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    edit(root / "MTD_MSIL1C.xml", '<?xml version="1.0" encoding="UTF-8"?>', bomb)
    with pytest.raises(ProductError, match="defines entities or a DTD"):
        open_product(root)


def test_external_entities_are_refused(tmp_path):
    root = write_safe(tmp_path)
    evil = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    edit(root / "MTD_MSIL1C.xml", '<?xml version="1.0" encoding="UTF-8"?>', evil)
    with pytest.raises(ProductError, match="defines entities or a DTD"):
        open_product(root)


class TestZip:
    def test_zip_is_read_like_the_folder(self, tmp_path):
        root = write_safe(tmp_path)
        archive = zip_safe(root, tmp_path / "any name.zip")
        from_folder, from_zip = open_product(root), open_product(archive)
        assert from_zip.name == from_folder.name
        assert from_zip.band_files == from_folder.band_files

    def test_folder_inside_may_have_another_name(self, tmp_path):
        root = write_safe(tmp_path)
        renamed = root.rename(tmp_path / "S2A_other_name.SAFE")
        product = open_product(zip_safe(renamed, tmp_path / "x.zip"))
        assert product.container.root == "S2A_other_name.SAFE"
        assert product.name.startswith("S2A_MSIL1C_20250925")

    @pytest.mark.parametrize("member", ["../evil.xml", "/etc/evil", "a/../../b", "..\\evil"])
    def test_members_that_point_outside_are_refused(self, tmp_path, member):
        path = tmp_path / "evil.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("P.SAFE/MTD_MSIL1C.xml", "<x/>")
            archive.writestr(member, "x")
        with pytest.raises(ProductError, match="points outside the archive"):
            open_product(path)
        assert not (tmp_path / "evil.xml").exists()

    def test_symbolic_links_are_refused(self, tmp_path):
        path = tmp_path / "link.zip"
        link = zipfile.ZipInfo("P.SAFE/MTD_MSIL1C.xml")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(link, "/etc/passwd")
        with pytest.raises(ProductError, match="symbolic link"):
            open_product(path)

    def test_absurd_sizes_are_refused(self, tmp_path, monkeypatch):
        from landcover_tf.sentinel2 import container

        monkeypatch.setattr(container, "LARGEST_ZIP_BYTES", 1000)
        archive = zip_safe(write_safe(tmp_path), tmp_path / "x.zip")
        with pytest.raises(ProductError, match="unpacks to"):
            open_product(archive)

    def test_metadata_that_unpacks_too_large_is_refused(self, tmp_path, monkeypatch):
        from landcover_tf.sentinel2 import container

        monkeypatch.setattr(container, "LARGEST_XML_BYTES", 1000)
        with pytest.raises(ProductError, match="is larger than"):
            open_product(write_safe(tmp_path))

    def test_damaged_and_foreign_zips_are_named(self, tmp_path):
        path = tmp_path / "bad.zip"
        path.write_bytes(b"PK\x03\x04 cut off")
        with pytest.raises(ProductError, match="neither a SAFE folder nor a readable"):
            open_product(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "x")
        with pytest.raises(ProductError, match=r"has no MTD_MSIL1C\.xml"):
            open_product(path)

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
    def test_damaged_members_are_named(self, tmp_path, method):
        path = tmp_path / "bad.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("P.SAFE/MTD_MSIL1C.xml", bytes(range(251)) * 99)
        data = bytearray(path.read_bytes())
        data[80:100] = b"\xff" * 20  # The member's bytes begin at 51, after its name.
        path.write_bytes(data)
        with pytest.raises(ProductError, match=r"cannot read MTD_MSIL1C\.xml in .*bad\.zip: "):
            open_product(path)

    @pytest.mark.parametrize(
        ("offset", "value", "message"),
        [
            (10, 99, "cannot read MTD_MSIL1C.xml in .*compression method"),
            (6, 99, "nor a readable .zip .*zip file version"),
        ],
    )
    def test_zips_of_other_kinds_are_named(self, tmp_path, offset, value, message):
        path = tmp_path / "new.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("P.SAFE/MTD_MSIL1C.xml", "<x/>")
        data = bytearray(path.read_bytes())
        # Offsets in the central directory: PKWARE's APPNOTE, section 4.3.12.
        data[data.index(b"PK\x01\x02") + offset] = value
        path.write_bytes(data)
        with pytest.raises(ProductError, match=message):
            open_product(path)

    def test_two_products_in_one_zip_are_refused(self, tmp_path):
        path = tmp_path / "two.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("A.SAFE/MTD_MSIL1C.xml", "<x/>")
            archive.writestr("B.SAFE/MTD_MSIL1C.xml", "<x/>")
        with pytest.raises(ProductError, match="holds 2 products"):
            open_product(path)


class TestDiscovery:
    def test_folder_of_products(self, tmp_path):
        root = write_safe(tmp_path)
        archive = zip_safe(root, tmp_path / "a.zip")
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / ".hidden.SAFE").mkdir()
        assert find_product_paths(tmp_path) == [root, archive]
        assert find_product_paths(root) == [root]
        assert find_product_paths(archive) == [archive]

    def test_products_at_any_depth(self, tmp_path):
        # As a mirror sorts them by date, and as some programs unpack a .zip.
        dated = write_safe(tmp_path / "2025" / "09", tile="34SEJ")
        doubled = write_safe(tmp_path / "double.SAFE")
        (tmp_path / "lost+found").mkdir(mode=0)
        assert find_product_paths(tmp_path) == [dated, doubled]
        assert find_product_paths(tmp_path / "double.SAFE") == [doubled]
        empty = tmp_path / "empty.SAFE"
        empty.mkdir()
        assert find_product_paths(tmp_path) == [dated, doubled, empty]

    def test_what_may_not_be_read_is_found_and_told(self, as_nobody):
        root = write_safe(as_nobody)
        archive = zip_safe(root, as_nobody / "a.zip")
        year = as_nobody / "2024"
        year.mkdir()
        granule = root / "GRANULE"
        with locked(year, archive):
            assert find_product_paths(as_nobody) == [year, root, archive]
            for path in (year, archive):
                with pytest.raises(UnreadableError, match=f"{path} may not be read"):
                    open_product(path)
        for part in (root, granule, root / "MTD_MSIL1C.xml"):
            with locked(part):
                assert find_product_paths(as_nobody) == [root, archive]
                with pytest.raises(UnreadableError, match=f"{part} may not be read"):
                    open_product(root)
        with locked(as_nobody), pytest.raises(UnreadableError, match=f"{as_nobody} may not be"):
            find_product_paths(root)

    def test_symbolic_links_are_followed_once(self, tmp_path):
        root = write_safe(tmp_path / "kept")
        folder = tmp_path / "linked"
        folder.mkdir()
        (folder / "product.SAFE").symlink_to(root)
        # Followed each time, ten links to their own folder would make 10 ** 40 paths.
        for number in range(10):
            (folder / f"loop{number}").symlink_to(folder)
        assert find_product_paths(folder) == [folder / "product.SAFE"]
        assert find_product_paths(tmp_path) == [root]

    def test_folders_of_a_product_may_be_links(self, tmp_path):
        root = write_safe(tmp_path)
        expected = open_product(root)
        (root / "GRANULE").rename(tmp_path / "elsewhere")
        (root / "GRANULE").symlink_to(tmp_path / "elsewhere")
        (root / "GRANULE" / "loop").symlink_to(root)
        product = open_product(root)
        assert product.container.sizes == expected.container.sizes
        with rasterio.open(product.band_path("B02")) as band:
            assert band.width == 120

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ProductError, match="holds no Sentinel-2 product"):
            find_product_paths(tmp_path)
        with pytest.raises(ProductError, match="does not exist"):
            find_product_paths(tmp_path / "missing")

    def test_higher_baseline_of_one_sight_wins(self, tmp_path):
        old = open_product(write_safe(tmp_path, baseline="03.01", offsets=None))
        new = open_product(write_safe(tmp_path, baseline="05.00", discriminator="20230101T000000"))
        other = open_product(write_safe(tmp_path, tile="34SEJ"))
        assert superseded([new, old, other]) == {str(old.path): new}
        assert superseded([old, other]) == {}

    def test_of_a_product_and_its_zip_the_unpacked_one_is_kept(self, tmp_path):
        root = write_safe(tmp_path)
        folder, archive = open_product(root), open_product(zip_safe(root, tmp_path / "z.zip"))
        assert superseded([folder, archive]) == {str(archive.path): folder}
        assert superseded([archive, folder]) == {str(archive.path): folder}

    def test_two_parts_of_one_data_take_are_both_kept(self, tmp_path):
        def part(start, baseline, discriminator):
            root = write_safe(tmp_path, baseline=baseline, discriminator=discriminator)
            strip = f"S2A_OPER_MSI_L1C_DS_2APS_20250925T111407_S{start}_N05.11"
            edit(
                next(root.glob("GRANULE/*/MTD_TL.xml")),
                "<SENSING_TIME>",
                f"<DATASTRIP_ID>{strip}</DATASTRIP_ID><SENSING_TIME>",
            )
            return open_product(root)

        first = part("20250925T092040", "05.11", "20250925T111407")
        second = part("20250925T093011", "05.11", "20250925T120000")
        again = part("20250925T092040", "05.11", "20250926T000000")
        old = part("20250925T093011", "05.10", "20250925T113000")
        assert first.datastrip_start == "20250925T092040"
        assert superseded([first, second, again, old]) == {
            str(first.path): again,
            str(old.path): again,
        }


def test_missing_band_is_left_out(tmp_path):
    root = write_safe(tmp_path)
    band_file(root, "B05").unlink()
    product = open_product(root)
    assert "B05" not in product.band_files
    with pytest.raises(ProductError, match="has no file of band B05"):
        product.band_path("B05")


def test_every_band_has_a_shape():
    assert tiny_safe.band_shape("B05", 120) == (60, 60)
