"""Warm-up requests, which TensorFlow Serving answers before it calls a version ready."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from landcover_tf.model_info import ModelInfo

BATCH_SIZES = (1, 4)
"""One window, and as many as a client sends in one request. With a larger one no version would be
loaded where `max_batch_size` in the server's batching.config is less, and each load take gigabytes.
"""
FILE_NAME = "assets.extra/tf_serving_warmup_requests"


def write_warmup(folder: Path, info: ModelInfo) -> int:
    """Writes one request per signature and batch size and returns how many.

    The sets of outputs that clients over gRPC ask for have one each.

    Without the extra `[serving]`, which holds the message definitions, none is written: a
    server then starts all the same, and its first answers are slow.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        print("no warm-up requests: they need the extra landcover-tf[serving]")
        return 0

    def log(signature: str, *outputs: str, **inputs: Any) -> bytes:
        request = predict_pb2.PredictRequest(inputs=inputs, output_filter=outputs)
        request.model_spec.name = info.name
        request.model_spec.signature_name = signature
        entry = prediction_log_pb2.PredictLog(request=request)
        return prediction_log_pb2.PredictionLog(predict_log=entry).SerializeToString()

    size = info.patch_size

    def images(batch: int) -> Any:
        # A TensorProto repeats its last value to the end, so these messages take a few bytes.
        return tf.make_tensor_proto(1, info.dtype, [batch, size, size, len(info.bands)])

    records = [
        log(signature, image=images(batch))
        for signature in ("serving_default", "classify")
        for batch in BATCH_SIZES
    ]
    # TensorFlow prepares the graph anew for each set of outputs.
    for outputs in (("classes", "confidence"), ("probabilities",)):
        records.append(log("serving_default", *outputs, image=images(1)))
    # The values of a string cannot be abbreviated so, but the string of a batch can.
    pixel = np.ones(len(info.bands), info.dtype).astype(f"<{np.dtype(info.dtype).str[1:]}")
    for batch in BATCH_SIZES:
        records.append(
            log(
                "predict_bytes",
                image_bytes=tf.make_tensor_proto(pixel.tobytes() * size**2, shape=[batch]),
                size=tf.make_tensor_proto(size, tf.int32, [batch, 2]),
            )
        )
    path = folder / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return len(records)
