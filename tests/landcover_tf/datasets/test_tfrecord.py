import hashlib

import pytest
import tensorflow as tf

from landcover_tf.datasets.tfrecord import compression_type, frame, read_records, write_framed
from landcover_tf.errors import DatasetError

RECORDS = [b"", b"one", bytes(range(256)) * 300]


def written(path, compression="none"):
    framed = [b"".join(frame([record])) for record in RECORDS]
    return write_framed(path, framed, compression=compression)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_tensorflow_and_we_read_the_same_records(tmp_path, compression):
    path = tmp_path / "ours"
    result = written(path, compression)
    assert (result.records, result.bytes) == (3, path.stat().st_size)
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    kind = compression_type(compression)
    assert list(tf.data.TFRecordDataset(str(path), kind).as_numpy_iterator()) == RECORDS
    assert list(read_records(path, compression)) == RECORDS
    with tf.io.TFRecordWriter(str(tmp_path / "theirs"), options=kind) as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(read_records(tmp_path / "theirs", compression)) == RECORDS
    if compression == "none":
        assert path.read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("damage", [None, 40, 60])
def test_the_whole_file_is_hashed_while_it_is_read(tmp_path, compression, damage):
    path = tmp_path / "f"
    written(path, compression)
    data = bytearray(path.read_bytes() + bytes(3_000_000 if damage else 0))
    if damage:
        data[damage] ^= 4
    path.write_bytes(data)
    digest = hashlib.sha256()
    try:
        read = list(read_records(path, compression, digest=digest))
    except DatasetError:
        read = None
    assert (read == RECORDS) == (damage is None)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_reading_that_is_given_up_does_not_read_the_rest_to_hash_it(tmp_path):
    path = tmp_path / "f"
    written(path)
    path.write_bytes(path.read_bytes() + bytes(3_000_000))
    digest = hashlib.sha256()
    records = read_records(path, "none", digest=digest)
    assert next(records) == RECORDS[0]
    records.close()
    assert digest.hexdigest() != hashlib.sha256(path.read_bytes()).hexdigest()


def test_gzip_files_carry_no_name_and_no_time(tmp_path):
    written(tmp_path / "a", "gzip")
    written(tmp_path / "b", "gzip")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def readable(path, compression="none"):
    """Returns the records before the damage and the message about it."""
    records = []
    with pytest.raises(DatasetError) as caught:
        records.extend(read_records(path, compression))
    return caught.value.args[0]


# Frames of 16 bytes and the records' 0, 3, 76,800 bytes begin at 0, 16 and 35.
@pytest.mark.parametrize(
    ("position", "message"),
    [
        (17, "record 1: corrupted record, the checksum of its length differs"),
        (29, "record 1: corrupted record, its checksum differs"),
        (33, "record 1: corrupted record, its checksum differs"),
        (5000, "record 2: corrupted record, its checksum differs"),
    ],
)
def test_one_flipped_bit_names_file_and_record(tmp_path, position, message):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    written(path)
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)
    assert f"shard {path}, {message}" in readable(path)


def test_what_follows_a_changed_record_can_be_read(tmp_path):
    path, damaged = tmp_path / "s", []
    written(path)
    data = bytearray(path.read_bytes())
    data[29] ^= 4
    path.write_bytes(data)
    assert list(read_records(path, "none", damaged=damaged)) == [RECORDS[0], RECORDS[2]]
    assert damaged == [1]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (20, "record 1: truncated record, its header is cut short"),
        (34, "record 1: truncated record, 3 bytes instead of 3"),
        (1035, "record 2: truncated record, 988 bytes instead of 76800"),
    ],
)
def test_a_file_cut_short_names_file_and_record(tmp_path, size, message):
    path = tmp_path / "s"
    written(path)
    path.write_bytes(path.read_bytes()[:size])
    assert message in readable(path)


def test_damaged_gzip_and_missing_files_are_named(tmp_path):
    path = tmp_path / "s"
    written(path, "gzip")
    data = path.read_bytes()
    path.write_bytes(data[:200])
    assert f"shard {path}, record 2: Compressed file ended" in readable(path, "gzip")
    path.write_bytes(data[:60] + bytes([data[60] ^ 255]) + data[61:])
    assert f"shard {path}, record" in readable(path, "gzip")
    assert "not a gzipped file" in (written(path), readable(path, "gzip"))[1].lower()
    path.unlink()
    assert readable(path) == f"shard {path} is missing; copy or build the dataset again"
    with pytest.raises(DatasetError, match="none or gzip, got 'lzma'"):
        list(read_records(path, "lzma"))
