"""Units of images told from a look at some of them."""

import pytest
from builder_inputs import write_pairs

from landcover_tf.errors import DatasetError
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.patches import scan
from tfrecords_builder.planning import make_plan, understand
from tfrecords_builder.reflectance_checks import look_ahead


def test_images_of_other_units_are_refused_before_anything_is_cut(tmp_path):
    data = write_pairs(tmp_path / "data", scenes=3)

    def look(**units):
        config = BuildConfig(
            data_dir=data,
            output_dir=tmp_path / "o",
            patch_size=32,
            patch_overlap=8,
            block_size_m=400,
            **units,
        )
        found = understand(config)
        jobs = found.scene_jobs(config, tmp_path)
        for job in jobs:
            scan(job)
        plan = make_plan(jobs, found, config)
        look_ahead(jobs, [plan.candidates[n] for n in plan.kept("train")], config.normalizer)

    look()
    with pytest.raises(DatasetError, match=r"bands of 3 of 3 images .* no reflectance"):
        look(scale=1.0, offset=0.0)
    look(scale=1.0, offset=0.0, normalizer="standardize")
