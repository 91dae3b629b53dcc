"""Class maps from trained models: local, tiled prediction and TensorFlow Serving."""
