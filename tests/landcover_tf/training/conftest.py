import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.training.config import TrainConfig


@pytest.fixture
def begun(tmp_path):
    """Returns a function that gives the config of a run with some augmentation."""
    write_small_dataset(tmp_path / "data")

    def config(augmentation: str) -> TrainConfig:
        return TrainConfig(
            data_dir=tmp_path / "data", output_dir=tmp_path / "run", model="resnet18",
            encoder_weights="none", patch_size=32, batch_size=2, augmentation=str(augmentation),
        )  # fmt: skip

    return config
