"""ExplainOptions: how a user's images are explained, and which options exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from ifnormal.common.errors import UserError
from ifnormal.config import DiffusionConfig, ExplainConfig, FitConfig, Objective, Preprocessing

# Of these depends which scores a detector gives, and from where on it flags an image.
_CALIBRATION = (
    *("black_box", "expect", "size", "channels"),
    *("threshold", "false_alarm_rate", "higher_is"),
)
# Of these, a detector that is trained here has no use for.
_UNTRAINED = ("black_box", "expect", "threshold", "higher_is", "trust")
_GENERATOR = ("generator", "backbone", "prompt", "source_prompt", "tiny_decoder")
# What an explainer is fitted to and how; all other options may change from one call to the next.
_FIT = ("normal", "outliers", "contamination", *_CALIBRATION, *_GENERATOR)


@dataclass(frozen=True)
class ExplainOptions:
    """All options of explaining image files.

    Attributes:
        explain: the detector, the explainer and what to explain.
        preprocessing: what the detector does to images before it scores them.
        fit: how a generator is trained, where no explainer is named.
        diffusion: how a diffusion model is used, where the generator uses one.
    """

    explain: ExplainConfig
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    fit: FitConfig = field(default_factory=FitConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    @property
    def kind(self) -> str | None:
        """The kind of built-in detector that is trained, where one is named in place of a file."""
        name = self.explain.detector
        return name if name in get_args(Objective) else None

    @property
    def trains_detector(self) -> bool:
        """Whether a detector is trained, of a kind that is named or chosen."""
        return self.explain.detector is None or self.kind is not None

    def require_fittable(self) -> None:
        """Refuse to fit an explainer where something is missing that it takes.

        Raises:
            UserError: names the option.
        """
        config = self.explain
        if config.normal is None:
            raise UserError(
                "Name a folder of normal images with --normal, to fit an explainer to, or an "
                "explainer that is fitted already with --explainer."
            )
        if config.of > 1:
            raise UserError(
                "Shards share one explainer; fit it first, without --of, and name its folder with "
                "--explainer."
            )
        for name, folder in (("normal", config.normal), ("outliers", config.outliers)):
            if folder is not None and not folder.exists():
                raise UserError(f"{folder} does not exist; correct the folder of --{name}.")

    def refuse_fit_options(self) -> None:
        """Refuse the options that would do nothing where an explainer is fitted already.

        Raises:
            UserError: names them.
        """
        given = self._given(_FIT, ("preprocessing", "fit", "diffusion"))
        if self.kind is not None:
            given = ["detector", *given]
        _refuse(given, "--explainer, which was fitted before")

    def refuse_options_of_models(self) -> None:
        """Refuse the options that would do nothing where a detector is trained.

        Raises:
            UserError: names them.
        """
        _refuse(self._given(_UNTRAINED, ("preprocessing",)), "a detector that is trained here")

    def refuse_calibration_options(self) -> None:
        """Refuse the options that would do nothing where a detector is calibrated already.

        Raises:
            UserError: names them.
        """
        given = self._given(_CALIBRATION, ("preprocessing",))
        _refuse(given, f"{self.explain.detector}, which has its own scores and threshold")

    def record(self) -> dict[str, Any]:
        """What `config.json` says of an explainer: two calls of the same record share it."""
        names = ("detector", *_FIT, "seed")
        recorded: dict[str, Any] = {
            "explain": {name: getattr(self.explain, name) for name in names},
            "preprocessing": asdict(self.preprocessing),
            "fit": asdict(self.fit),
        }
        if self.explain.needs_backbone:
            generator = self.explain.generator
            diffusion = self.diffusion.for_prompts(self.explain.prompt)
            recorded["diffusion"] = {generator: asdict(getattr(diffusion, generator))}
        return recorded

    def _given(self, names: Sequence[str], groups: Sequence[str]) -> list[str]:
        """Those of the options that differ from their defaults."""
        defaults = ExplainOptions(ExplainConfig())
        pairs = ((name, self.explain, defaults.explain) for name in names)
        given = [name for name, here, there in pairs if getattr(here, name) != getattr(there, name)]
        return given + [name for name in groups if getattr(self, name) != getattr(defaults, name)]


def _refuse(given: Sequence[str], because: str) -> None:
    """Raise a UserError rather than let an option do nothing."""
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{named} cannot change {because}; leave it out.")
