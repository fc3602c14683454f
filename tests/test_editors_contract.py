"""What every registered editor promises: fitted, saved, loaded and asked on tiny real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("diffusers")
pytest.importorskip("mlxtend")

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.config import (
    DiffusionConfig,
    ExplainConfig,
    FitConfig,
    RefineConfig,
    ThriftConfig,
)
from ifnormal.config.diffusion import DiffEditConfig, InversionConfig, LatentConfig, MaskConfig
from ifnormal.config.editors import EDITORS, EditorConfig
from ifnormal.data.sources.digits import EmbeddedDigits
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.diffusion.loading import save_backbone
from ifnormal.explainers.editor import editor_class, make_editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.improve import improve
from ifnormal.explanation.explanation import Explanation
from known_detectors import tiny
from tiny_backbones import SIDE, scheduler, tiny_backbone

FIT: FitConfig = tiny(steps=4, checkpoint_every=2)
MASK = MaskConfig(maps=1)
DIFFEDIT = DiffEditConfig(steps=4, mask=MASK)
DIFFUSION = DiffusionConfig(
    inversion=InversionConfig(concepts=2, steps=4, mask=MASK),
    diffedit=DIFFEDIT,
    latent=LatentConfig(
        concepts=2, steps=2, batch_size=2, width=16, discriminator_width=8, diffedit=DIFFEDIT
    ),
)


class Brightness(Detector):
    """Its score rises with the ink of a digit."""

    shape = (3, SIDE, SIDE)
    threshold = 0.5

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = images.mean((2, 3))
        return 60 * (mean.mean(1) - 0.12), mean


def digits(few_strokes: bool) -> Tensor:
    """(16, 3, 16, 16) uint8 real digits: ones, or zeros and eights, which have more ink."""
    drawn = EmbeddedDigits().read("test")
    wanted = drawn.labels == 1 if few_strokes else (drawn.labels == 0) | (drawn.labels == 8)
    small = F.interpolate(to_float(drawn.images[wanted]), (SIDE, SIDE), mode="area")
    ink = small.mean((1, 2, 3))
    order = ink.argsort(descending=not few_strokes)[:16]
    return quantize(small[order].expand(-1, 3, -1, -1))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("backbone")
    save_backbone(tiny_backbone(), folder, scheduler())
    return str(folder)


@pytest.fixture(scope="module", params=EDITORS)
def choice(request: pytest.FixtureRequest, backbone: str) -> EditorConfig:
    if EDITORS[request.param].needs_backbone:
        return EditorConfig(request.param, backbone, ("a sign",), "something else")
    return EditorConfig(request.param)


@pytest.fixture(scope="module")
def make(choice: EditorConfig) -> Callable[[], Explainer]:
    return lambda: Explainer(Brightness(), editor=make_editor(choice, FIT, DIFFUSION))


@pytest.fixture(scope="module")
def fitted(make: Callable[[], Explainer]) -> Explainer:
    return make().fit(digits(True), digits(False), seed=3)


@pytest.fixture(scope="module")
def explained(fitted: Explainer) -> Explanation:
    return fitted.explain(digits(False)[:4], traversals=2, traversal_steps=3)


def test_the_detector_tells_the_digits_apart() -> None:
    assert (Brightness()(to_float(digits(False))) > 0.5).all()
    assert (Brightness()(to_float(digits(True))) <= 0.5).all()


def test_it_is_registered_under_its_name(choice: EditorConfig) -> None:
    kind = editor_class(choice.generator)
    assert kind.name == choice.generator
    assert isinstance(make_editor(choice, FIT, DIFFUSION), kind)


def test_shapes_and_facts(fitted: Explainer, explained: Explanation) -> None:
    k = fitted.concepts
    assert explained.counterfactuals.shape == (4, k, 3, SIDE, SIDE)
    assert explained.traversals.shape == (2, k, 3, 3, SIDE, SIDE)
    assert len(fitted.editor.concept_names) in (0, k)
    assert tuple(explained.facts.get("concept_names", ())) == fitted.editor.concept_names
    sums = explained.concept_probabilities.sum(2)
    torch.testing.assert_close(sums, torch.ones(4, k))
    assert json.loads(json.dumps(fitted.facts, default=list))["seed"] == fitted.seed == 3
    json.dumps(fitted.editor.card)
    assert fitted.cost() == "" or fitted.cost().endswith(".")


def test_traversals_end_at_the_counterfactuals(explained: Explanation) -> None:
    ends = explained.traversals[:, :, -1].int() - explained.counterfactuals[:2].int()
    assert ends.abs().max() <= 1


def test_edits_for_0_are_the_counterfactuals(fitted: Explainer, explained: Explanation) -> None:
    images = to_float(explained.anomalies)
    for k in range(fitted.concepts):
        edited = fitted.edit(images, 0.0, k)
        assert edited.dtype == torch.float32
        assert edited.min() >= 0
        assert edited.max() <= 1
        difference = quantize(edited).int() - explained.counterfactuals[:, k].int()
        assert difference.abs().max() <= 1
    each = fitted.editor.edit_each(images, torch.arange(4) % fitted.concepts)
    rows = explained.counterfactuals[torch.arange(4), torch.arange(4) % fitted.concepts]
    assert (quantize(each).int() - rows.int()).abs().max() <= 3, "perhaps in another precision"


def test_every_image_has_a_target_of_its_own(fitted: Explainer) -> None:
    images = to_float(digits(False)[:2])
    both = fitted.edit(images, torch.tensor([0.0, 0.9]), 0)
    for row, target in enumerate((0.0, 0.9)):
        alone = fitted.edit(images[row : row + 1], target, 0)[0]
        assert (both[row] - alone).abs().max() <= 2 / 255
    assert fitted.edit(images[:0], 0.0, 0).shape == images[:0].shape


def test_the_same_twice_and_one_by_one(fitted: Explainer, explained: Explanation) -> None:
    again = fitted.explain(explained.anomalies, traversals=0)
    assert torch.equal(again.counterfactuals, explained.counterfactuals)
    alone = fitted.explain(explained.anomalies[1:2], traversals=0)
    difference = alone.counterfactuals.int() - explained.counterfactuals[1:2].int()
    assert difference.abs().max() <= 1


def test_saved_and_loaded_it_explains_the_same(
    fitted: Explainer, explained: Explanation, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = Explainer.load(tmp_path, Brightness())
    assert type(loaded.editor) is type(fitted.editor)
    assert loaded.config == fitted.config
    assert loaded.seed == 3
    again = loaded.explain(explained.anomalies, traversals=2, traversal_steps=3)
    assert torch.equal(again.counterfactuals, explained.counterfactuals)
    assert torch.equal(again.traversals, explained.traversals)
    assert json.loads(json.dumps(again.facts, default=list)) == json.loads(
        json.dumps(explained.facts, default=list)
    )


def test_fitted_anew_with_the_same_seed_it_edits_the_same(
    make: Callable[[], Explainer], explained: Explanation
) -> None:
    again = make().fit(digits(True), digits(False), seed=3)
    edits = again.explain(explained.anomalies, traversals=0).counterfactuals
    assert torch.equal(edits, explained.counterfactuals)


def test_a_fit_leaves_the_checkpoints_that_it_names(
    make: Callable[[], Explainer], fitted: Explainer, explained: Explanation, tmp_path: Path
) -> None:
    make().fit(digits(True), digits(False), seed=3, folder=tmp_path)
    names = {path.stem for path in tmp_path.glob("*.json")}
    assert set(fitted.editor.checkpoints) <= names
    resumed = make().fit(digits(True), digits(False), seed=3, folder=tmp_path, resume=True)
    edits = resumed.explain(explained.anomalies, traversals=0).counterfactuals
    assert torch.equal(edits, explained.counterfactuals)


def test_a_black_box_is_explained_or_refused_in_a_sentence(choice: EditorConfig) -> None:
    class BlackBox(Brightness):
        is_black_box = True

    quick = replace(FIT, surrogate=replace(FIT.surrogate, steps=2))
    explainer = Explainer(BlackBox(), editor=make_editor(choice, quick, DIFFUSION))
    if choice.generator == "latent":
        with pytest.raises(UserError, match="gradient"):
            explainer.fit(digits(True), digits(False))
        return
    explainer.fit(digits(True), digits(False))
    assert len(explainer.explain(digits(False)[:2])) == 2


def test_thrift_keeps_what_is_accepted(fitted: Explainer, explained: Explanation) -> None:
    after = improve(fitted, explained, thrift_config=ThriftConfig(spend=1.0, again=10.0))
    assert (after.valid | ~explained.valid).all()
    untouched = ~explained.valid
    assert torch.equal(after.counterfactuals[untouched], explained.counterfactuals[untouched])


def test_it_refines_or_says_that_it_cannot(
    fitted: Explainer, explained: Explanation, choice: EditorConfig
) -> None:
    config: dict[str, Any] = {"refine_config": RefineConfig(steps=2)}
    if EDITORS[choice.generator].refines:
        assert (improve(fitted, explained, **config).valid | ~explained.valid).all()
        return
    with pytest.raises(UserError, match="cannot refine"):
        improve(fitted, explained, **config)
    with pytest.raises(UserError, match="cannot refine"):
        ExplainConfig(generator=choice.generator, backbone=choice.backbone, refine=True)


def test_what_needs_a_fit_says_so(make: Callable[[], Explainer]) -> None:
    explainer = make()
    try:
        explainer.editor.require_fitted()
    except UserError:
        with pytest.raises(UserError, match="not fitted"):
            explainer.explain(digits(False)[:1])
    else:
        assert len(explainer.explain(digits(False)[:1])) == 1
