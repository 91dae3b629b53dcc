"""Which settings differ between work that was begun and its continuation."""

from landcover_tf.settings_changes import changes


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
