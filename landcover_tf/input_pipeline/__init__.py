"""tf.data pipelines from TFRecord shards to augmented batches."""
