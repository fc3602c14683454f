"""What a model returns, and what of its inside is taken for features."""

from __future__ import annotations

import pytest
import torch

import users_models
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.adapters.features import image_statistics, pooled, projected
from ifnormal.detectors.adapted.adapters.output import scores_of
from ifnormal.detectors.adapted.detector import adapt
from known_detectors import COLOR, blue
from users_models import RedNetwork


class TestFeatures:
    def test_are_the_input_of_the_last_layer(self) -> None:
        network = RedNetwork()
        detector = adapt(network, shape=COLOR)
        images = to_float(blue(3))
        inner = torch.relu(network.body(images)).mean((2, 3))
        for _ in range(2):  # the first run finds the layer, the second knows it
            torch.testing.assert_close(detector.inspect(images)[1], inner)

    def test_of_a_named_submodule(self) -> None:
        detector = adapt(RedNetwork(), shape=COLOR, features="body.0")
        assert detector.inspect(torch.rand(2, *COLOR))[1].shape == (2, 6)  # mean and maximum
        with pytest.raises(UserError, match=r"no submodule 'neck' .* body.0, body.3, head"):
            adapt(RedNetwork(), shape=COLOR, features="neck")

    def test_pooled_by_hand(self) -> None:
        maps = torch.tensor([[[[1.0, 3], [5, 7]]]])
        assert pooled(maps, 1) is not None
        assert pooled(maps, 1).tolist() == [[4, 7]]  # type: ignore[union-attr]
        assert pooled(torch.tensor([[[1.0, 2], [3, 4]]]), 1).tolist() == [[2, 3]]  # type: ignore[union-attr]
        assert pooled(torch.rand(6, 4), 2) is None

    def test_wide_ones_keep_their_distances(self) -> None:
        wide = torch.randn(20, 5000)
        narrow = projected(wide)
        assert narrow.shape == (20, 256)
        ratio = torch.pdist(narrow) / torch.pdist(wide)
        assert ratio.min() > 0.75
        assert ratio.max() < 1.25
        assert torch.equal(narrow, projected(wide))

    def test_a_description_tells_colours_and_edges_apart(self) -> None:
        plain, striped = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
        striped[..., ::2] = 1
        a, b = image_statistics(plain)[0], image_statistics(striped)[0]
        assert a.shape == (48,)
        assert torch.allclose(a[:16], b[:16])  # the same grey
        assert (b[16:32] > a[16:32] + 0.5).all()  # edges across
        assert torch.allclose(a[32:], b[32:])  # and none down


class TestOutputs:
    @pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1, 1)])
    def test_one_number_an_image(self, shape: tuple[int, ...]) -> None:
        values = torch.rand(shape)
        assert torch.equal(scores_of(values, 3, "it"), values.flatten())

    @pytest.mark.parametrize("shape", [(3, 5, 6), (3, 1, 5, 6)])
    def test_a_map_counts_by_its_maximum(self, shape: tuple[int, ...]) -> None:
        values = torch.rand(shape)
        assert torch.equal(scores_of(values, 3, "it"), values.flatten(1).amax(1))
        named = {"anomaly_map": values, "pred_mask": values > 0.5}
        assert torch.equal(scores_of(named, 3, "it"), values.flatten(1).amax(1))

    def test_a_score_goes_before_a_map(self) -> None:
        score, map_ = torch.rand(3), torch.rand(3, 1, 4, 4)
        output = users_models.Prediction(score, score > 0.5, map_, map_ > 0.5)
        assert torch.equal(scores_of(output, 3, "it"), score)
        assert torch.equal(scores_of(output._asdict(), 3, "it"), score)
        assert torch.equal(scores_of((map_, score, score > 0.5), 3, "it"), score)

    @pytest.mark.parametrize(
        "output",
        [
            torch.rand(3, 2),
            torch.rand(4),
            torch.rand(3) > 0.5,
            None,
            "text",
            {"loss": torch.rand(3)},
        ],
    )
    def test_anything_else_is_refused(self, output: object) -> None:
        with pytest.raises(UserError, match=r"it returns .* for 3 images; return"):
            scores_of(output, 3, "it")
