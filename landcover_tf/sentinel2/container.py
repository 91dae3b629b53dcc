"""Files of a product, in a folder or in a .zip that may be hostile."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.product_paths import other_layout, product_folder

LARGEST_XML_BYTES = 64 * 2**20
"""MTD_TL.xml is about 0.5 MB; anything near this limit is not product metadata."""
LARGEST_ZIP_BYTES = 64 * 2**30
"""Unpacked size beyond which a .zip cannot be a product (about 1 GB) and looks like a bomb."""


# What `zipfile` raises for damage, for a method or version that it lacks, and for names that
# are no UTF-8, beside OSError.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    UnicodeDecodeError,
)


class ForeignError(ProductError):
    """The folder or .zip has nothing of a Sentinel-2 product."""


class UnreadableError(ProductError):
    """The user may not read the folder or .zip, or something in it."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            f"{path} may not be read (permission denied); have its owner allow it (chmod -R a+rX)"
        )


@dataclass(frozen=True, kw_only=True)
class Container:
    """Read-only access to a product's files by path relative to the product's root."""

    path: Path
    """The folder, or the .zip file."""
    root: str = ""
    """Folder of the product inside a .zip, without trailing slash; empty for folders."""

    @property
    def zipped(self) -> bool:
        """Whether `path` is a .zip."""
        return self.path.is_file()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by path relative to the root."""
        if not self.zipped:
            return {
                file.relative_to(self.path).as_posix(): file.stat().st_size
                for file in sorted(_files_in(self.path))
            }
        prefix = f"{self.root}/" if self.root else ""
        with _open_zip(self.path) as archive:
            return {
                member.filename.removeprefix(prefix): member.file_size
                for member in archive.infolist()
                if member.filename.startswith(prefix) and not member.is_dir()
            }

    def gdal_path(self, name: str) -> str:
        """Returns the path that GDAL and rasterio open."""
        if not self.zipped:
            return str(self.path / name)
        inside = f"{self.root}/{name}" if self.root else name
        archive = str(self.path.resolve())
        # Braces let GDAL take any file name for a .zip, whatever its suffix, but they would end at
        # those in a path.
        if not _has_braces(archive):
            archive = f"{{{archive}}}"
        return f"/vsizip/{archive}/{inside}"

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Yields the file opened for reading bytes.

        Raises:
            ProductError: The file is missing, or the .zip is damaged or of an unknown kind.
        """
        try:
            if not self.zipped:
                with (self.path / name).open("rb") as file:
                    yield file
                return
            inside = f"{self.root}/{name}" if self.root else name
            with _open_zip(self.path) as archive, archive.open(inside) as file:
                yield file
        except PermissionError as error:
            raise UnreadableError(self.path / name) from error
        except (OSError, KeyError, *_ZIP_ERRORS) as error:
            raise ProductError(f"cannot read {name} in {self.path}: {error}") from error

    def read(self, name: str, limit_bytes: int | None = None) -> bytes:
        """Returns the bytes of a file, at most `limit_bytes` of them if a limit is given."""
        with self.open(name) as file:
            return file.read() if limit_bytes is None else file.read(limit_bytes)

    def xml(self, name: str) -> Any:
        """Returns the root element of an XML file; entities and DTDs are refused.

        Raises:
            ProductError: The file is missing, too large, malformed or an attack.
        """
        data = self.read(name, LARGEST_XML_BYTES + 1)
        if len(data) > LARGEST_XML_BYTES:
            raise ProductError(
                f"{name} in {self.path} is larger than {LARGEST_XML_BYTES >> 20} MiB; "
                "that is not Sentinel-2 metadata"
            )
        try:
            return fromstring(data)
        except DefusedXmlException as error:
            raise ProductError(
                f"{name} in {self.path} defines entities or a DTD, which product metadata never "
                "does; it may be an attack, download the product again from a trusted source"
            ) from error
        except ParseError as error:
            raise ProductError(
                f"{name} in {self.path} is not valid XML ({error}); download the product again"
            ) from error


def may_read(path: Path) -> bool:
    """Returns whether the user may read a file, or list a folder and open what is in it."""
    mode = os.R_OK | (os.X_OK if path.is_dir() else 0)
    # By default the real user is asked, who differs from the effective one under setuid.
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _files_in(path: Path) -> Iterator[Path]:
    """Yields the files in a folder at any depth; a product's folders may be symbolic links.

    Raises:
        ProductError: A folder in it may not be read, or the disk fails.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise UnreadableError(error.filename) from error
        raise ProductError(f"cannot list the files in {path}: {error}") from error

    seen = set()
    for folder, folders, names in os.walk(path, followlinks=True, onerror=refuse):
        if not may_read(Path(folder)):
            raise UnreadableError(folder)
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()  # A link in a circle.
            continue
        seen.add(real)
        yield from (file for name in names if (file := Path(folder, name)).is_file())


def open_container(path: str | Path) -> Container:
    """Returns the container of one Level-1C product.

    Args:
        path: A SAFE folder, its MTD_MSIL1C.xml or manifest.safe, or a .zip with one product; the
            folder inside may have any name.

    Raises:
        ForeignError: There is no product.
        UnreadableError: It may not be read.
        ProductError: It is of another level or format, there are several, or the .zip is damaged
            or unsafe.
    """
    path = Path(path)
    if not path.exists():
        raise ProductError(f"{path} does not exist; expected a SAFE folder or a .zip of one")
    path = product_folder(path)
    if not may_read(path):
        raise UnreadableError(path)
    if path.is_dir():
        names = [file.name for file in path.iterdir() if file.is_file()]
        _require_level_1c(names, path)
        return Container(path=path)
    members = _safe_members(path)
    if _has_braces(str(path.resolve())) and path.suffix.lower() != ".zip":
        raise ProductError(f"{path} has a brace in its path, so its name must end in .zip")
    roots = sorted(
        str(PurePosixPath(name).parent)
        for name in members
        if PurePosixPath(name).name == "MTD_MSIL1C.xml"
    )
    if len(roots) > 1:
        raise ProductError(
            f"{path} holds {len(roots)} products ({', '.join(roots)}); expected one, unpack it"
        )
    if not roots:
        _require_level_1c([PurePosixPath(name).name for name in members], path)
    return Container(path=path, root="" if roots[0] == "." else roots[0])


def _has_braces(path: str) -> bool:
    return "{" in path or "}" in path


def _require_level_1c(names: list[str], path: Path) -> None:
    if "MTD_MSIL1C.xml" in names:
        return
    if "MTD_MSIL2A.xml" in names:
        raise ProductError(
            f"{path} is a Level-2A product (surface reflectance, no B10); "
            "expected Level-1C, download the product named MSIL1C, or take it as plain rasters "
            "(docs/prepare.md, Level-2A)"
        )
    if layout := other_layout(names):
        raise ProductError(f"{path} is {layout}")
    raise ForeignError(f"{path} is not a Sentinel-2 Level-1C product: it has no MTD_MSIL1C.xml")


def _safe_members(path: Path) -> list[str]:
    """Returns the member names of a .zip after checking that none can do harm."""
    with _open_zip(path) as archive:
        members = archive.infolist()
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if member.filename.startswith("/") or ".." in parts or ":" in member.filename:
            raise ProductError(
                f"{path} has the unsafe member {member.filename!r}, which points outside the "
                "archive; download the product again from a trusted source"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ProductError(f"{path} has a symbolic link, {member.filename!r}; unpack it first")
        if member.flag_bits & 1:
            raise ProductError(f"{path} is encrypted; unpack it first")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProductError(
                f"{path} is packed by a method other than deflate, which GDAL does not read; "
                "unpack it first"
            )
    total = sum(member.file_size for member in members)
    if total > LARGEST_ZIP_BYTES:
        raise ProductError(
            f"{path} unpacks to {total / 2**30:.0f} GiB; a Level-1C product has about 1 GiB"
        )
    return [member.filename for member in members if not member.is_dir()]


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except PermissionError as error:
        raise UnreadableError(path) from error
    except (OSError, *_ZIP_ERRORS) as error:
        if _is_tar(path):
            raise ProductError(
                f"{path} is a tar archive; unpack it and give the SAFE folder in it"
            ) from error
        raise ProductError(
            f"{path} is neither a SAFE folder nor a readable .zip ({error}); download it again"
        ) from error
    for member in archive.infolist():
        # Some programs for Windows write its separator, and others begin with "./"; GDAL reads
        # both as the standard's.
        name = member.filename.replace("\\", "/")
        member.filename = name.removeprefix("./") or name
        archive.NameToInfo.setdefault(member.filename, member)
    return archive


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, *_ZIP_ERRORS):  # It is compressed, and damaged.
        return False
