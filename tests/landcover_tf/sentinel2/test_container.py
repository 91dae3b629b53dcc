"""Products in folders and in .zip files, honest or not."""

import shutil
import stat
import zipfile

import pytest
import rasterio
from fakes.tiny_safe import write_safe, zip_safe

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.safe import open_product


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

    @pytest.mark.parametrize(("start", "separator"), [("", "\\"), ("./", "/")])
    def test_names_of_other_programs_are_read_as_those_of_the_standard(
        self, tmp_path, start, separator
    ):
        root = write_safe(tmp_path)
        archive = tmp_path / "x.zip"
        names = []
        with zipfile.ZipFile(archive, "w") as made:
            if start:
                made.writestr(start, "")  # The folder itself, as `tar` and others list it.
            for file in sorted(f for f in root.rglob("*") if f.is_file()):
                names.append(start + str(file.relative_to(tmp_path)).replace("/", separator))
                made.writestr(names[-1], file.read_bytes())
        with zipfile.ZipFile(archive) as made:
            assert set(names) <= set(made.namelist())
        product, folder = open_product(archive), open_product(root)
        assert product.band_files == folder.band_files
        paths = product.band_path("B02"), folder.band_path("B02")
        with rasterio.open(paths[0]) as zipped, rasterio.open(paths[1]) as unpacked:
            assert (zipped.read(1) == unpacked.read(1)).all()
        assert not describe_damage(product.container, product.band_files["B02"])

    @pytest.mark.parametrize("name", ["a}1", "a{1", "{a}", "{a}}"])
    def test_braces_in_the_path_are_no_end_of_it(self, tmp_path, name):
        root = write_safe(tmp_path)
        archive = zip_safe(root, tmp_path / "x.zip")
        (tmp_path / name).mkdir()
        inside = shutil.copy(archive, tmp_path / name / "x.zip")
        for path in (archive.rename(tmp_path / f"{name}.zip"), inside):
            with rasterio.open(open_product(path).band_path("B02")) as band:
                assert band.width == 120
        other = shutil.copy(inside, tmp_path / f"{name}.SAFE")
        with pytest.raises(ProductError, match=r"has a brace in its path, .* end in \.zip"):
            open_product(other)

    @pytest.mark.parametrize("name", ["a", "{a}"])
    def test_a_tar_archive_is_to_be_unpacked(self, tmp_path, name):
        root = write_safe(tmp_path)
        (tmp_path / name).mkdir()
        made = shutil.make_archive(str(tmp_path / name / "x"), "gztar", tmp_path, root.name)
        with pytest.raises(ProductError, match=r"x\.tar\.gz is a tar archive; unpack it"):
            open_product(made)

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

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
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
            (10, 99, "is packed by a method other than deflate.* unpack it first"),
            (10, zipfile.ZIP_LZMA, "is packed by a method other than deflate.* unpack it first"),
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
