"""Classes that thresholds or the split take away are told."""

import numpy as np
from builder_inputs import arguments, rewrite, write_pairs

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder import audit
from tfrecords_builder.__main__ import main


def test_a_class_that_the_build_loses_or_a_split_lacks_is_told(tmp_path, capsys):
    """The objects of a rare class, apart from all other labels, were dropped without a word."""

    data = write_pairs(tmp_path / "data")

    def one_class(values):
        return np.full_like(values, 10)

    def rare(values):
        # Urban: 10 x 10 pixels of a patch of 40 px without other labels. Water: 30 x 30.
        values = one_class(values)
        values[:, :40, 40:120] = 0
        values[:, 10:20, 50:60], values[:, 50:80, 50:80] = 40, 60
        return values

    for name in ("s0", "s1", "s2"):
        rewrite(data / "labels" / f"{name}.tif", rare if name == "s1" else one_class)
    flags = ("--patch-size", 40, "--patch-overlap", 0, "--gap-px", 0)
    assert main(arguments(data, tmp_path / "o", *flags)) == 0
    told = capsys.readouterr().err
    info = DatasetInfo.load(tmp_path / "o")
    fields, urban, water = (c.name for c in info.legend.classes if c.code in (10, 40, 60))
    assert (
        f"warning: no patch of train, val, test has a labelled pixel of {urban}; most of these "
        "pixels lie in patches that are dropped (too few labelled pixels): lower --min-lab" in told
    )
    (home,) = (name for name, split in info.splits.items() if split.class_pixels.get(60))
    others = ", ".join(name for name in info.splits if name != home)
    assert f"no patch of {others} has a labelled pixel of {water}; most of these pix" in told
    assert f"pixels lie in {home}: more input, other units of" in told
    assert fields not in told
    assert audit.main([str(tmp_path / "o"), "--jobs", "1"]) == 0
    row = next(row for row in capsys.readouterr().out.splitlines() if row.startswith(urban))
    assert row.removeprefix(urban).split() == ["none"] * 3
