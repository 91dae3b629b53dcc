"""Products are read as their XML says, whatever their age, name or packing."""

from datetime import UTC, datetime

import numpy as np
import pytest
from fakes import tiny_safe
from fakes.tiny_safe import band_file, edit, write_safe, zip_safe

from landcover_tf.bands import BAND_NAMES
from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.safe import open_product


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


def test_offsets_may_name_their_bands_as_other_elements_do(tmp_path):
    root = write_safe(tmp_path, offsets=[-i for i in range(13)])
    edit(root / "MTD_MSIL1C.xml", "<RADIO_ADD_OFFSET band_id=", "<RADIO_ADD_OFFSET bandId=")
    offsets = open_product(root).offsets
    assert list(offsets.values()) == [-i for i in range(13)] and offsets["B8A"] == -8


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [
        ("<RADIO_ADD_OFFSET band_id=", "<RADIO_ADD_OFFSET band=", "None"),
        ('band_id="12"', 'band_id="13"', "'13'"),
        ('band_id="8"', 'band_id="B8A"', "'B8A'"),
    ],
)
def test_offsets_of_unknown_bands_are_refused(tmp_path, old, new, got):
    """Passed over, they would be 0, and all reflectance 0.1 too high."""
    root = write_safe(tmp_path)
    edit(root / "MTD_MSIL1C.xml", old, new)
    with pytest.raises(ProductError, match=f"RADIO_ADD_OFFSET must have the band_id .* got {got}"):
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
        (">NODATA<", ">OTHER<", "lacks the special value NODATA"),
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
        (">45.0<", ">high<", "Mean_Sun_Angle/ZENITH_ANGLE must be a number, got 'high'"),
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


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_only_informs_may_be_lacking(tmp_path, kind):
    root = write_safe(tmp_path)
    edit(root / "MTD_MSIL1C.xml", f"<PRODUCT_URI>{root.name}</PRODUCT_URI>", "")
    edit(root / "MTD_MSIL1C.xml", ">SATURATED<", ">OTHER<")
    edit(root / "MTD_MSIL1C.xml", "Assessment>7.5<", "Assessment><")
    tile = next(root.glob("GRANULE/*/MTD_TL.xml"))
    edit(tile, '<ZENITH_ANGLE unit="deg">45.0', '<ZENITH_ANGLE unit="deg">')
    edit(tile, "<Pixel_Level_QI>", "<CLOUDY_PIXEL_PERCENTAGE/><Pixel_Level_QI>")
    product = open_product(root if kind == "folder" else zip_safe(root, tmp_path / "x.zip"))
    assert product.name == root.name.removesuffix(".SAFE")
    assert product.saturated == 65535
    assert product.cloud_percentage is None
    assert product.sun_zenith_deg is product.sun_azimuth_deg is None
    assert [what.split(",")[0] for what in product.lacking] == [
        "PRODUCT_URI", "the special value SATURATED", "Mean_Sun_Angle", "the percentage of clouds"
    ]  # fmt: skip


def test_files_may_end_in_capital_letters(tmp_path):
    quality = {"MSK_QUALIT_B02.jp2": np.zeros((8, 120, 120), np.uint8)}
    root = write_safe(tmp_path, masks=quality)
    for file in [*root.glob("GRANULE/*/IMG_DATA/*.jp2"), *root.glob("GRANULE/*/QI_DATA/*.jp2")]:
        file.rename(file.with_suffix(".JP2"))
    product = open_product(root)
    assert len(product.band_files) == 13
    assert product.band_files["B8A"].endswith("_B8A.JP2")
    (mask,) = product.mask_files("QUALIT")
    assert (mask.band, mask.suffix) == ("B02", ".jp2")


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


def test_missing_band_is_left_out(tmp_path):
    root = write_safe(tmp_path)
    band_file(root, "B05").unlink()
    product = open_product(root)
    assert "B05" not in product.band_files
    with pytest.raises(ProductError, match="has no file of band B05"):
        product.band_path("B05")


def test_every_band_has_a_shape():
    assert tiny_safe.band_shape("B05", 120) == (60, 60)
