"""An explainer for a user's own detector: the one that is named, or one fitted to normal images.

```
OUT/config.json   options, versions, machine
OUT/explainer/    explainer, what is known of its detector, checkpoint, losses
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import DiffusionConfig, ExplainConfig, FitConfig, Preprocessing
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.image_input import Shape, default_shape
from ifnormal.data.files.reading import BadImage, read_good_images
from ifnormal.detectors.adapted.detector import AdaptedDetector
from ifnormal.detectors.adapted.expected import compare_with_expected
from ifnormal.detectors.loading import load_detector
from ifnormal.explainers.editor import editor_class, make_editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.loading import load_explainer
from ifnormal.jobs.our_files import CONFIG, EXPLAINER, has_checkpoint
from ifnormal.jobs.run_folder import (
    begin,
    clear,
    difference,
    require_writable,
    update_config,
)
from ifnormal.report.surrogate import surrogate_sentences

_OF_GENERATOR = ("generator", "backbone", "prompt", "source_prompt", "tiny_decoder")
# What decides on the explainer; the other options may change from one call to the next.
_DECISIVE = (
    *("detector", "normal", "outliers", "black_box", "expect", "size", "channels"),
    *_OF_GENERATOR,
    *("threshold", "false_alarm_rate", "higher_is", "seed"),
)


def explainer_for(
    config: ExplainConfig,
    preprocessing: Preprocessing,
    fit: FitConfig,
    out: Path,
    files: Sequence[Path] = (),
    diffusion: DiffusionConfig | None = None,
) -> Explainer:
    """The explainer that the options name, or one fitted to the normal images that they name.

    A fit that was broken off goes on from its last checkpoint in `out`; one that is finished is not
    done again. The files to be explained count only for the scores that are expected of them.

    Raises:
        UserError: an option is missing, a file cannot be used, or `out` holds an explainer that was
            begun with other options.
    """
    diffusion = diffusion or DiffusionConfig()
    if config.explainer is not None:
        given = _of_a_fit(config, preprocessing, fit)
        given += ["diffusion"] if diffusion != DiffusionConfig() else []
        _refuse(given, "--explainer, which was fitted before")
        return _loaded(config.explainer, config)
    if config.detector is None:
        raise UserError(
            "Name a detector with --detector, or an explainer that knows its own with --explainer; "
            "ifnormal detectors lists what a detector can be."
        )
    if config.normal is None:
        raise UserError(
            "Name a folder of normal images with --normal, to fit an explainer to, or an explainer "
            "that is fitted already with --explainer."
        )
    if config.of > 1:
        raise UserError(
            "Shards share one explainer; fit it first, without --of, and name its folder with "
            "--explainer."
        )
    for name in ("normal", "outliers"):
        training = getattr(config, name)
        if training is not None and not training.exists():
            raise UserError(f"{training} does not exist; correct the folder of --{name}.")
    folder = out / "explainer"
    diffusion = diffusion.for_prompts(config.prompt)
    _begin(config, preprocessing, fit, diffusion, out)
    if (folder / EXPLAINER).exists():
        return _loaded(folder, config)
    return _fit(config, preprocessing, fit, diffusion, folder, files)


def _loaded(folder: Path, config: ExplainConfig) -> Explainer:
    """An explainer that was fitted before; tells again what its images cost."""
    explainer = load_explainer(folder, config.detector, config.trust)
    if explainer.cost():
        print(explainer.cost())
    return explainer


def _of_a_fit(config: ExplainConfig, preprocessing: Preprocessing, fit: FitConfig) -> list[str]:
    """The options given that only count when a detector is calibrated or an explainer fitted."""
    usual = ExplainConfig()
    names = [n for n in _DECISIVE if n not in ("detector", "seed")]
    given = [name for name in names if getattr(config, name) != getattr(usual, name)]
    given += ["preprocessing"] if preprocessing != Preprocessing() else []
    return given + (["fit"] if fit != FitConfig() else [])


def _refuse(given: list[str], because: str) -> None:
    """Rather than let an option do nothing."""
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{named} cannot change {because}; leave it out.")


def _begin(
    config: ExplainConfig,
    preprocessing: Preprocessing,
    fit: FitConfig,
    diffusion: DiffusionConfig,
    out: Path,
) -> None:
    """Record the options, or make sure that they are those of the first time."""
    options = {
        "explain": {name: getattr(config, name) for name in _DECISIVE},
        "preprocessing": asdict(preprocessing),
        "fit": asdict(fit),
    }
    if config.generator != "pixel":
        method = getattr(diffusion, config.generator)
        options["diffusion"] = {config.generator: asdict(method)}
    begin(out)
    if (out / CONFIG).exists() and "explain" not in read_json(out / CONFIG):
        raise UserError(
            f"{out} holds a run, which this would take the place of; name another folder."
        )
    folder = out / "explainer"
    begun = (folder / EXPLAINER).exists() or has_checkpoint(folder)
    if begun and not config.fresh:
        changed = difference(read_json(out / CONFIG), options)
        if changed:
            raise UserError(
                f"{out} was begun with {changed}; give the same options as then, another folder, "
                "or --fresh to begin anew."
            )
        return
    require_writable(out)
    clear(out, "detector")
    update_config(out, options, fresh=True)


def _fit(
    config: ExplainConfig,
    preprocessing: Preprocessing,
    fit: FitConfig,
    diffusion: DiffusionConfig,
    folder: Path,
    files: Sequence[Path],
) -> Explainer:
    assert config.detector is not None
    assert config.normal is not None
    normal_files = find_images([config.normal])
    detector = load_detector(
        config.detector,
        trust=config.trust,
        shape=_shape(config, normal_files),
        preprocessing=preprocessing,
        threshold=config.threshold,
        higher_is=None if config.higher_is == "auto" else config.higher_is,
        black_box=config.black_box,
    )
    if isinstance(detector, AdaptedDetector) and not detector.is_calibrated:
        if config.expect is not None:
            edited = _shape(config, normal_files, detector.model.input_shape)
            every = [*normal_files, *files]
            detector = compare_with_expected(detector, edited, config.expect, every)
        detector = detector.at(_shape(config, normal_files, detector.model.input_shape))
    else:
        usual = {name: getattr(ExplainConfig(), name) for name in _OF_GENERATOR}
        of_calibration = replace(config, normal=None, outliers=None, **usual)
        given = _of_a_fit(of_calibration, preprocessing, FitConfig())
        _refuse(given, f"{config.detector}, which has its own scores and threshold")
    normal, skipped = _read(normal_files, detector.shape, config)
    outliers = None
    if config.outliers is not None:
        outliers, more = _read(find_images([config.outliers]), detector.shape, config)
        skipped += more
    explainer = Explainer(detector, editor=make_editor(config, fit, diffusion))
    if explainer.cost():
        print(explainer.cost())
    explainer.fit(
        normal,
        outliers,
        config.seed,
        folder,
        resume=has_checkpoint(folder),
        false_alarm_rate=config.false_alarm_rate,
    )
    if skipped:
        explainer.facts["skipped_training_images"] = [asdict(bad) for bad in skipped]
    explainer.save(folder)
    for note in _notes({**explainer.detector.facts, **explainer.facts}):
        print(note)
    return explainer


def _notes(facts: Mapping[str, Any]) -> list[str]:
    """What a user should know of a fit, a sentence each."""
    notes = list(facts.get("contract", {}).get("notes", []))
    if (expected := facts.get("expected")) and expected["largest_there"] > expected["tolerance"]:
        notes.append(
            f"At {'x'.join(map(str, expected['edited_at']))}, where images are edited and scored, "
            f"the detector's scores are up to {expected['largest_there']:.3g} from those of the "
            "whole images; a larger --size brings them nearer."
        )
    if synthetic := facts.get("synthetic_outliers"):
        learned = editor_class(facts.get("generator", "pixel")).learns
        notes.append(
            f"The detector flags {synthetic['flagged']:,} of {synthetic['made']:,} synthetic "
            + ("outliers; the explainer learned from these." if learned else "outliers.")
        )
    return [*notes, *surrogate_sentences(facts)]


def _shape(
    config: ExplainConfig, files: list[Path], takes: tuple[int | None, ...] = (None, None, None)
) -> Shape:
    """What the options say of size and channels, the rest from the first image."""
    channels, height, width = default_shape(files, (takes[0], takes[1], takes[2]))
    size = config.size if isinstance(config.size, tuple) else (config.size, config.size)
    return config.channels or channels, size[0] or height, size[1] or width


def _read(files: list[Path], shape: Shape, config: ExplainConfig) -> tuple[Tensor, list[BadImage]]:
    """Images to train with, and the files that are none."""
    read = read_good_images(files, shape, config.on_bad_image)
    return read.images, list(read.skipped)
