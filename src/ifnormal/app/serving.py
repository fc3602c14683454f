"""Serving the page: to this machine only, without files by path and without analytics."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.explainers.explainer import Explainer

HOST = "127.0.0.1"
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_FONTS = ["system-ui", "sans-serif"]  # gradio's own come from the web


def serve(explainer: Explainer, port: int) -> None:
    """Serve the page of an explainer until Ctrl+C or SIGTERM.

    Raises:
        UserError: gradio is missing, or the port is taken.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that uploads are removed
    with served(explainer, port) as address:
        print(f"Open {address} in a browser; Ctrl+C ends it.", flush=True)
        try:
            Event().wait()
        except KeyboardInterrupt:
            print("\nStopped.")


@contextmanager
def served(explainer: Explainer, port: int) -> Iterator[str]:
    """Serve the page in the background; yields its address.

    Raises:
        UserError: gradio is missing, or the port is taken.
    """
    require_port(port)
    with TemporaryDirectory(prefix="ifnormal-app-") as uploads, _settings(uploads):
        gradio = require_gradio()
        from starlette.middleware import Middleware

        from ifnormal.app.gate import gate
        from ifnormal.app.page import CSS, make_page
        from ifnormal.app.uploads import LARGEST_UPLOAD

        page = make_page(explainer, Path(uploads))
        hosts = frozenset(f"{name}:{port}" for name in (HOST, "localhost"))
        middleware: list[Any] = [Middleware(gate, hosts=hosts)]
        try:
            page.launch(
                server_name=HOST,
                server_port=port,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                inbrowser=False,
                show_error=False,
                max_file_size=LARGEST_UPLOAD,
                allowed_paths=[],
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                footer_links=[],
                state_session_capacity=100,
                app_kwargs={"middleware": middleware, "docs_url": None, "redoc_url": None},
                theme=gradio.themes.Default(font=_FONTS, font_mono=["monospace"]),
                css=CSS,
            )
            yield f"http://{HOST}:{port}"
        except OSError as error:
            if "port" not in str(error):
                raise
            raise _taken(port, error) from None
        finally:
            page.close(verbose=False)


@contextmanager
def _settings(uploads: str) -> Iterator[None]:
    """Set the folder of uploads and switch analytics off, by gradio's environment variables."""
    wanted = {**_SETTINGS, "GRADIO_TEMP_DIR": uploads}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def require_port(port: int) -> None:
    """Refuse an invalid port, or one that is taken."""
    if not 1 <= port <= 65535:
        raise UserError(f"The port must lie between 1 and 65535, not {port}.")
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise _taken(port, error) from None


def _taken(port: int, error: OSError) -> UserError:
    return UserError(
        f"The port {port} of this machine cannot be used ({error.strerror or 'it is taken'}); "
        "name another with --port."
    )


def require_gradio() -> Any:
    """Import gradio, which is an extra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gradio
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f'The app needs gradio ({error}); run pip install "ifnormal[app]".'
        ) from None
    return gradio
