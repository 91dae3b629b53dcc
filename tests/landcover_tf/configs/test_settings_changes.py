"""Which settings differ between work that was begun and its continuation."""

from landcover_tf.configs.settings_changes import changes


def test_equal_settings_have_no_changes():
    before = {"shape": [2, 3], "given": None, "inside": {"sizes": [1]}, "of an older version": 7}
    assert changes(before, {"shape": (2, 3), "inside": {"sizes": (1,)}, "new": None}) == []


def test_changes_tell_old_and_new_values():
    before = {
        "lr": 0.1,
        "seed": None,
        "network": {"tta": False, "size": 64},
        "model": "0a",
        "jobs": 1,
    }
    now = {"lr": 0.2, "seed": 5, "network": {"tta": True, "size": 64}, "model": "1b", "jobs": 2}
    assert changes(before, now, free=("jobs",), unshown=("model",)) == [
        "lr (was 0.1, now 0.2)",
        "seed (was not set, now 5)",
        "network tta (was False, now True)",
        "model",
    ]


def test_long_and_unshown_values_stay_out_of_messages():
    windows = [{"start": start, "size": 256} for start in range(0, 5000, 64)]
    before = {
        "layout": {"mode": "exact", "rows": windows},
        "model": {"sha256": "0a"},
        "mask": "a" * 200 + "1.tif",
    }
    now = {
        "layout": {"mode": "blend", "rows": windows[1:]},
        "model": {"sha256": "1b"},
        "mask": "a" * 200 + "2.tif",
    }
    cut = f"{'a' * 38}...{'a' * 33}"
    assert changes(before, now, unshown=("model", "rows")) == [
        "layout mode (was exact, now blend)",
        "layout rows",
        "model",
        f"mask (was {cut}1.tif, now {cut}2.tif)",
    ]
