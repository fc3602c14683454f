"""The live page in a process of its own, as a user would run it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = """
import sys
from ifnormal.app.serving import serve
from known_explainers import color_explainer
serve(color_explainer(steps=int(sys.argv[2])), int(sys.argv[1]))
"""


@contextmanager
def serving(temporary: Path, steps: int = 16) -> Iterator[str]:
    """Serve the page of `color_explainer`; yields its address. Uploads go below `temporary`."""
    port = free_port()
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        # What a user may have set for other apps of theirs must not open ours.
        "GRADIO_SHARE": "True",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_ALLOWED_PATHS": "/",
        "GRADIO_ANALYTICS_ENABLED": "True",
    }
    command = [sys.executable, "-W", "ignore", "-c", _CODE, str(port), str(steps)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == f"Open http://127.0.0.1:{port} in a browser; Ctrl+C ends it.\n", line
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(180) == 0


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
