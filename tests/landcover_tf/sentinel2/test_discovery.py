"""Which products lie in a folder, and which of them replace others."""

import shutil
import tarfile
from contextlib import contextmanager

import pytest
import rasterio
from fakes.tiny_safe import edit, write_safe, zip_safe

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.container import UnreadableError
from landcover_tf.sentinel2.discovery import find_product_paths, left_out, open_products, superseded
from landcover_tf.sentinel2.safe import open_product


@contextmanager
def locked(*paths):
    for path in paths:
        path.chmod(0)
    yield
    for path in paths:
        path.chmod(0o755)


class TestDiscovery:
    def test_folder_of_products(self, tmp_path):
        root = write_safe(tmp_path)
        archive = zip_safe(root, tmp_path / "a.zip")
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / ".hidden.SAFE").mkdir()
        assert find_product_paths(tmp_path) == [root, archive]
        assert find_product_paths(root) == [root]
        assert find_product_paths(archive) == [archive]

    @pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "manifest.safe"])
    def test_a_file_that_other_programs_open_stands_for_its_product(self, tmp_path, name):
        root = write_safe(tmp_path, manifest=True)
        [product], unopened = open_products(root / name)
        assert product.path == root and not unopened
        with rasterio.open(product.band_path("B02")) as band:
            assert band.width == 120

    @pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "../MTD_MSIL1C.xml"])
    def test_its_product_has_the_folder_s_name_wherever_one_stands(
        self, tmp_path, name, monkeypatch
    ):
        root = write_safe(tmp_path)
        monkeypatch.chdir(root / "GRANULE" if ".." in name else root)
        assert open_product(name).path == root

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

    def test_other_layouts_and_tar_archives_are_found_and_told(self, tmp_path):
        root = write_safe(tmp_path)
        older = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160101T000000_R093_V20151231T092041"
        tile = tmp_path / "tiles" / "34" / "S" / "EH"
        for folder, names in (
            (older, ["S2A_OPER_MTD_SAFL1C_PDMC_20160101T000000_R093.xml"]),
            (tile, ["B01.jp2", "metadata.xml"]),
        ):
            folder.mkdir(parents=True)
            for name in names:
                (folder / name).touch()
        archive = tmp_path / "S2A_x.SAFE.tar"
        with tarfile.open(archive, "w") as made:
            made.add(root, "S2A_x.SAFE")
        # One that was unpacked is no other product, and other archives are none.
        shutil.copy(archive, tmp_path / f"{root.name}.tar")
        shutil.copy(archive, tmp_path / f"{root.stem}.tgz")
        shutil.copy(archive, tmp_path / "labels.tar")
        assert find_product_paths(tmp_path) == [root, older, archive, tile]
        products, unopened = open_products(tmp_path)
        assert [product.path for product in products] == [root]
        assert [found.severity for found in unopened] == ["fatal"] * 3
        for path, found, reason in zip(
            (older, archive, tile),
            unopened,
            ("before 6 December 2016", "is a tar archive; unpack it", "the bucket sentinel-s2-l1c"),
            strict=True,
        ):
            assert str(found.error).startswith(f"{path} is ") and reason in str(found.error)

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
        root.chmod(0o111)  # Its files can be opened, but not listed.
        with pytest.raises(UnreadableError, match=f"{root} may not be read"):
            open_product(root / "MTD_MSIL1C.xml")
        root.chmod(0o755)

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
        told = left_out(archive, folder)
        assert told == f"{archive.path} is left out: {folder.path} is another copy of it"
        again = open_product(write_safe(tmp_path, discriminator="20250926T000000"))
        assert left_out(folder, again).endswith(f"{again.path} is the same sight, made later")

    def test_two_parts_of_one_data_take_are_both_kept(self, tmp_path):
        first = part_of_a_data_take(tmp_path, "20250925T092040", "05.11", "20250925T111407")
        second = part_of_a_data_take(tmp_path, "20250925T093011", "05.11", "20250925T120000")
        again = part_of_a_data_take(tmp_path, "20250925T092040", "05.11", "20250926T000000")
        old = part_of_a_data_take(tmp_path, "20250925T093011", "05.10", "20250925T113000")
        assert first.datastrip_start == "20250925T092040"
        assert superseded([first, second, again, old]) == {
            str(first.path): again,
            str(old.path): second,
        }

    def test_a_part_that_was_not_reprocessed_is_kept(self, tmp_path):
        north, south = ring(38.4, 38.9), ring(37.8, 38.4)
        first = part_of_a_data_take(tmp_path, "20170226T102458", "02.04", "20170226T102458", north)
        second = part_of_a_data_take(tmp_path, "20170226T102511", "02.04", "20170226T102511", south)
        newer = part_of_a_data_take(tmp_path, "20170226T102458", "05.00", "20230902T000000", north)
        assert superseded([first, second, newer]) == {str(first.path): newer}
        # Also where nothing else tells that the newer one is a part.
        assert superseded([second, newer]) == {}
        # Cut anew, it has the ground of the older ones, and replaces all.
        whole = part_of_a_data_take(
            tmp_path, "20170226T102455", "05.10", "20240101T000000", ring(37.8, 38.9)
        )
        assert superseded([newer, first, whole, second]) == {
            str(first.path): whole,
            str(second.path): whole,
            str(newer.path): whole,
        }

    def test_a_part_of_unknown_ground_is_kept(self, tmp_path):
        first = part_of_a_data_take(tmp_path, "20170226T102458", "02.04", "20170226T102458")
        newer = part_of_a_data_take(
            tmp_path, "20170226T102511", "05.00", "20230902T000000", ring(37.8, 38.9)
        )
        assert superseded([first, newer]) == {}


def ring(south, north):
    """Tile 34SEH reaches from 37.85 to 38.85 N, 21.0 to 22.3 E."""
    return f"{south} 20.9 {south} 22.4 {north} 22.4 {north} 20.9 {south} 20.9"


def part_of_a_data_take(folder, start, baseline, discriminator, footprint=None):
    root = write_safe(folder, baseline=baseline, discriminator=discriminator)
    strip = f"S2A_OPER_MSI_L1C_DS_2APS_20250925T111407_S{start}_N05.11"
    edit(
        next(root.glob("GRANULE/*/MTD_TL.xml")),
        "<SENSING_TIME>",
        f"<DATASTRIP_ID>{strip}</DATASTRIP_ID><SENSING_TIME>",
    )
    if footprint:
        end = "</n1:General_Info>"
        position = f"<EXT_POS_LIST>{footprint}</EXT_POS_LIST>"
        edit(root / "MTD_MSIL1C.xml", end, end + position)
    return open_product(root)
