"""Other formats of an export, each made from the SavedModel and compared with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from landcover_tf.errors import ModelError
from landcover_tf.exporting.comparison import differences, saved_model_answers
from landcover_tf.model_info import ModelInfo
from landcover_tf.system.quiet import import_openvino

TOLERANCE = 1e-3
"""Largest difference in probability from the SavedModel: engines add in another order, which
variances of nearly flat windows (`LocalStatistics`) magnify."""

ONNX_OPSET = 17
"""Understood by ONNX Runtime since 1.12."""

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def write_openvino(saved_model: Path, folder: Path, images: np.ndarray) -> None:
    """Writes `model.xml` and `model.bin` for OpenVINO, in float32.

    Args:
        saved_model: Version folder of the export.
        folder: Receives the files.
        images: Stored values [batch, height, width, bands] on which both must agree.

    Raises:
        ModelError: Its model answers differently.
    """
    openvino = import_openvino()
    model = openvino.convert_model(str(saved_model))
    # The default would round weights to float16 and change classes.
    openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings)
    names = {output: output.get_any_name() for output in compiled.outputs}

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        answers = compiled(batch)
        return {_signature_name(name): answers[output] for output, name in names.items()}

    _compare("OpenVINO", saved_model, run, images)


def write_tflite(saved_model: Path, folder: Path, images: np.ndarray) -> None:
    """Writes `model.tflite` for LiteRT, in float32, with `serving_default` as its signature.

    Args:
        saved_model: Version folder of the export.
        folder: Receives the file.
        images: Stored values [batch, height, width, bands] on which both must agree.

    Raises:
        ModelError: The conversion fails, or the model answers differently.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model), signature_keys=["serving_default"]
    )
    try:
        content = converter.convert()
    except Exception as error:  # The converter raises its own type, without a stable import.
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the model cannot be converted to TFLite: {reason}") from error
    (folder / "model.tflite").write_bytes(content)
    interpreter = tf.lite.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner("serving_default")
    _compare("TFLite", saved_model, lambda batch: runner(image=batch), images)


def write_onnx(saved_model: Path, folder: Path, images: np.ndarray) -> None:
    """Writes `model.onnx` for ONNX Runtime, in float32, with the names of `serving_default`.

    Args:
        saved_model: Version folder of the export.
        folder: Receives the file.
        images: Stored values [batch, height, width, bands] on which both must agree.

    Raises:
        ModelError: ONNX Runtime refuses the conversion, or its model answers differently.
    """
    import onnxruntime
    from tf2onnx import convert

    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    spec = signature.structured_input_signature[1]["image"]
    path = str(folder / "model.onnx")
    # The image must be the only input; the signature itself also takes its weights' constants.
    predict = tf.function(lambda image: signature(image=image), input_signature=[spec])
    convert.from_function(predict, [spec], opset=ONNX_OPSET, output_path=path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # Its own types, without a stable import.
        raise ModelError(f"ONNX Runtime refuses the converted model: {error}") from error
    names = [output.name for output in session.get_outputs()]

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"image": batch}), strict=True))

    _compare("ONNX", saved_model, run, images)


WRITERS: dict[str, Callable[[Path, Path, np.ndarray], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "tflite": write_tflite,
}


def _compare(engine: str, saved_model: Path, run: Run, images: np.ndarray) -> None:
    """Checks that `run` answers what the SavedModel answers, class by class."""
    differences(
        run(images),
        saved_model_answers(saved_model, images),
        models=(f"{engine} model", "SavedModel"),
        tolerance=TOLERANCE,
        calibration=ModelInfo.load(saved_model).calibration,
    )


def _signature_name(name: str) -> str:
    return name.split(":")[0].split("/")[-1]
