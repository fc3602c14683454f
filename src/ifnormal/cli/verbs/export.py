"""ifnormal export: write the generator as an ONNX file."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from ifnormal.cli.explainer import add_explainer, load_explainer
from ifnormal.cli.verb import Options, Verb, add_images


def _export(options: Options) -> None:
    from ifnormal.data.files.reading import read_images
    from ifnormal.explainers.onnx_export import export_generator

    explainer = load_explainer(options)
    paths, images = options["images"], None
    if paths:
        images, _ = read_images(paths, explainer.detector.shape)
    done = export_generator(explainer, options["out"], images)
    what = "noise" if images is None else f"{len(images):,} images"
    print(
        f"Compared {done.edits:,} edits of {what}: values in [0, 1] differ by at most "
        f"{done.largest_difference:.1e}, and {100 * done.other_pixels:.2g} % of the 8-bit ones."
    )
    print(f"Generator: {done.path} (ONNX, opset {done.opset})")


def _add_options(parser: ArgumentParser) -> None:
    add_images(parser, "image files and folders to compare the edits on; the default is noise")
    add_explainer(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("generator.onnx"), metavar="FILE", help="file to write"
    )


VERB = Verb(
    _export,
    _add_options,
    "[IMAGE ...] [--explainer DIR] [--out FILE] [--detector SPEC] [--trust]",
    "write the generator as an ONNX file and check that its edits are the same",
)
