"""ifnormal train-backbone: train a small diffusion model of normal images."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_data_root, add_resume, require_data_root
from ifnormal.common.errors import UserError
from ifnormal.config import BackboneConfig

_OUT = Path("backbone")
_OUTLIERS = 4000
_SECTIONS = {
    "main options": "setup normal outliers size prompt out resume seed",
    "data sets": "data_root",
    "training": "backbone.steps backbone.autoencoder_steps backbone.batch_size",
}


def _train_backbone(options: Options) -> None:
    if (options["setup"] is None) == (options["normal"] is None):
        raise UserError(
            "Name either a setup with --setup, such as gtsrb/speed-limits, or a folder of normal "
            "images with --normal."
        )
    if options["normal"] is not None and options["prompt"] is None:
        raise UserError(
            'Say what is normal in a word or two with --prompt, such as --prompt "bottle".'
        )
    require_data_root(options["data_root"])
    from ifnormal.config import DataConfig
    from ifnormal.data import load_setup
    from ifnormal.explainers.diffusion.backbone_training import train_backbone
    from ifnormal.explainers.diffusion.loading import require_replaceable
    from ifnormal.explainers.diffusion.training_material import material_of, material_of_folders

    require_replaceable(options["out"])
    seed = options["seed"]
    if options["setup"] is not None:
        config = DataConfig(
            setup=options["setup"], data_root=options["data_root"], outliers=_OUTLIERS
        )
        material = material_of(load_setup(config, seed), options["prompt"])
    else:
        material = material_of_folders(
            options["normal"], options["outliers"], options["prompt"], options["size"]
        )
    backbone = train_backbone(
        material,
        BackboneConfig(**options["backbone"]),
        seed,
        options["out"],
        options["resume"],
    )
    facts = backbone.facts
    print(f"{facts['images']:,} images, {facts['seconds'] / 60:.0f} minutes.")
    print(f"The autoencoder gives images back at {facts['psnr']:.1f} dB.")
    print(f"Backbone: {options['out']}")


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--setup",
        metavar="ID",
        help="setup of images to train on; ifnormal bench list names them all",
    )
    parser.add_argument(
        "--normal", type=Path, metavar="DIR", help="folder of normal images, in place of a setup"
    )
    parser.add_argument(
        "--outliers", type=Path, metavar="DIR", help="folder of images that show other things"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=32,
        help="height and width that images of a folder are scaled to",
    )
    parser.add_argument(
        "--prompt", metavar="WORDS", help="name of what normal images show, in a word or two"
    )
    parser.add_argument(
        "--out", type=Path, default=_OUT, metavar="DIR", help="folder for the diffusion model"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same result"
    )
    add_data_root(parser)
    add_resume(parser)
    parser.add_class_arguments(BackboneConfig, "backbone")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _train_backbone,
    _add_options,
    "--setup ID | --normal DIR --prompt WORDS [--out DIR] [options]",
    "train a small diffusion model for --generator inversion, diffedit or latent",
    resumable=True,
)
