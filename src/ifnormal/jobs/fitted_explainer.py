"""An explainer for a user's own detector: the one that is named, or one fitted to normal images.

```
OUT/config.json   options, versions, machine
OUT/explainer/    explainer, its detector or what is known of it, checkpoint, losses
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import ExplainConfig
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.reading import read_good_images
from ifnormal.explainers.editor import make_editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.loading import load_explainer
from ifnormal.jobs.contamination import without_suspects
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.fit_notes import fit_notes
from ifnormal.jobs.our_files import CONFIG, DETECTOR, EXPLAINER, has_checkpoint
from ifnormal.jobs.own_detector import own_detector
from ifnormal.jobs.run_folder import begin, clear, difference, require_writable, update_config
from ifnormal.jobs.tell import Tell
from ifnormal.jobs.users_detector import edited_shape, users_detector


def explainer_for(
    options: ExplainOptions, out: Path, files: Sequence[Path], tell: Tell
) -> Explainer:
    """The explainer that the options name, or one fitted to the normal images that they name.

    A fit that was broken off goes on from its last checkpoint in `out`; one that is finished is not
    done again.

    Args:
        options: the detector, the explainer and how it is fitted.
        out: where an explainer is fitted.
        files: images to be explained; only the scores that are expected of them count here.
        tell: takes what a user should know, a sentence at a time: what an image costs, before the
            fit, and what came of the fit.

    Raises:
        UserError: an option is missing, a file cannot be used, or `out` holds an explainer that was
            begun with other options.
    """
    config = options.explain
    if config.explainer is not None:
        options.refuse_fit_options()
        return _loaded(config.explainer, config.detector, config, tell)
    options.require_fittable()
    _begin(options, out)
    folder = out / "explainer"
    if (folder / EXPLAINER).exists():
        return _loaded(folder, None if options.trains_detector else config.detector, config, tell)
    return _fitted(options, folder, files, tell)


def _loaded(folder: Path, detector: str | None, config: ExplainConfig, tell: Tell) -> Explainer:
    explainer = load_explainer(folder, detector, config.trust)
    _tell_cost(explainer, tell)
    return explainer


def _tell_cost(explainer: Explainer, tell: Tell) -> None:
    if cost := explainer.cost():
        tell(cost)


def _begin(options: ExplainOptions, out: Path) -> None:
    """Record the options, or make sure that they are those of the first time."""
    begin(out)
    if (out / CONFIG).exists() and "explain" not in read_json(out / CONFIG):
        raise UserError(
            f"{out} holds a run, which this would take the place of; name another folder."
        )
    folder, record = out / "explainer", options.record()
    made = (folder / EXPLAINER, folder / "detector" / DETECTOR)
    begun = any(path.exists() for path in made) or has_checkpoint(folder)
    if begun and not options.explain.fresh:
        changed = difference(read_json(out / CONFIG), record)
        if changed:
            raise UserError(
                f"{out} was begun with {changed}; give the same options as then, another folder, "
                "or --fresh to begin anew."
            )
        return
    require_writable(out)
    clear(out, "detector")
    update_config(out, record, fresh=True)


def _fitted(options: ExplainOptions, folder: Path, files: Sequence[Path], tell: Tell) -> Explainer:
    config = options.explain
    assert config.normal is not None
    normal_files = find_images([config.normal])
    detector = None if options.trains_detector else users_detector(options, normal_files, files)
    shape = edited_shape(config, normal_files) if detector is None else detector.shape
    read = read_good_images(normal_files, shape, config.on_bad_image)
    skipped = list(read.skipped)
    normal, facts = without_suspects(read, config.contamination, config.seed, tell)
    outliers = None
    if config.outliers is not None:
        others = find_images([config.outliers])
        more = read_good_images(others, shape, config.on_bad_image)
        outliers = more.images
        skipped += more.skipped
    if detector is None:
        detector, of_detector = own_detector(options, folder / "detector", normal, outliers, tell)
        facts |= of_detector
    editor = make_editor(config, options.fit, options.diffusion)
    explainer = Explainer(detector, editor=editor)
    _tell_cost(explainer, tell)
    explainer.fit(
        normal,
        outliers,
        config.seed,
        folder,
        resume=has_checkpoint(folder),
        false_alarm_rate=config.false_alarm_rate,
    )
    explainer.facts |= facts
    if skipped:
        explainer.facts["skipped_training_images"] = [asdict(bad) for bad in skipped]
    explainer.save(folder)
    for note in fit_notes({**explainer.detector.facts, **explainer.facts}):
        tell(note)
    return explainer
