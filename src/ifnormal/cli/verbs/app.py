"""ifnormal app: try edits of an image in the browser."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.explainer import add_explainer, load_explainer
from ifnormal.cli.verb import Options, Verb


def _app(options: Options) -> None:
    from ifnormal.app.serving import require_gradio, require_port, serve

    require_port(options["port"])
    require_gradio()
    serve(load_explainer(options), options["port"])


def _add_options(parser: ArgumentParser) -> None:
    add_explainer(parser)
    parser.add_argument(
        "--port", type=int, default=7860, help="port of the page, which only this machine can open"
    )


VERB = Verb(
    _app,
    _add_options,
    "[--explainer DIR] [--detector SPEC] [--trust] [--port PORT]",
    "serve a page on this machine: drop an image in, see its score and its counterfactuals",
)
