"""Which GPUs each of several trainings at a time may see.

TensorFlow takes all memory of every GPU that it sees, so of two trainings on one GPU the second
would fail for want of memory.
"""

import os
import shutil
import subprocess


def environments(parts: int) -> list[dict[str, str]]:
    """Returns what to add to the environment of each of `parts` processes that train at a time.

    Each gets GPUs of its own, as many as the others; where there are fewer GPUs than processes,
    all see all, and each takes the memory that it uses.
    """
    gpus = _visible_gpus() if parts > 1 else []
    each = len(gpus) // parts
    if not each:
        return [{"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if parts > 1 else {} for _ in range(parts)]
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(gpus[number * each : (number + 1) * each])}
        for number in range(parts)
    ]


def _visible_gpus() -> list[str]:
    """Returns the names of the GPUs that CUDA would show, without starting it."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        # CUDA shows those before the first that is none, such as -1.
        end = next((i for i, name in enumerate(names) if not name or name == "-1"), len(names))
        return names[:end]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    said = subprocess.run([program, "--list-gpus"], capture_output=True, text=True).stdout
    count = sum(line.startswith("GPU ") for line in said.splitlines())
    return [str(number) for number in range(count)]
