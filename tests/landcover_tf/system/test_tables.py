"""Tables as programs and spreadsheets write them."""

from landcover_tf.system.tables import read_csv, write_csv


def test_a_table_has_its_head_and_empty_cells_for_none(tmp_path):
    write_csv(tmp_path / "t.csv", ["name", "iou"], [["water, deep", 0.5], ["forest", None]])
    assert (tmp_path / "t.csv").read_bytes() == b'name,iou\n"water, deep",0.5\nforest,\n'


def test_rows_keep_their_line_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\ufeffid; note\n\n;;\n1;"two\nlines"\n ; \n2\n', encoding="utf-8")
    table = read_csv(path)
    assert (table.columns, table.separator) == (("id", "note"), ";")
    assert table.rows == ({"id": "1", "note": "two\nlines"}, {"id": "2", "note": None})
    assert table.lines == (5, 7)
