"""Memory: estimated without working, and made do with."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.common.errors import UserError
from ifnormal.config.diffusion import DiffEditConfig, InversionConfig, LatentConfig, MaskConfig
from ifnormal.explainers.diffusion.cost import cost_sentences
from ifnormal.explainers.diffusion.diffedit_editor import DiffEditEditor
from ifnormal.explainers.diffusion.inversion_editor import InversionEditor
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_editor import LatentEditor
from ifnormal.explainers.diffusion.memory import MemoryEstimate, peak_bytes, weight_bytes
from ifnormal.explainers.diffusion.memory_plan import ROUND, Room, Work, make_do, place
from ifnormal.explainers.diffusion.noise_schedule import NoiseSchedule
from tiny_backbones import SIDE, tiny_backbone

GIGABYTE = 2**30
EVERYTHING = Room(100 * GIGABYTE, False)
CELLS = (1, 4, SIDE // 2, SIDE // 2)


def backbone() -> LatentBackbone:
    return deepcopy(tiny_backbone())


def stable_diffusion() -> LatentBackbone:
    """The shapes of Stable Diffusion 1.5 in float16, its autoencoder in float32; no content."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor2_0

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
        unet = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=768,
            attention_head_dim=8,
            block_out_channels=(320, 640, 1280, 1280),
        )
        text = torch.nn.Linear(123_060_480, 1, bias=False)  # as many weights as CLIP's
    schedule = NoiseSchedule(torch.linspace(0.99, 0.01, 1000), "epsilon")
    tokenizer = SimpleNamespace(model_max_length=77)
    made = LatentBackbone(vae, unet, text, tokenizer, schedule).requires_grad_(False).eval()
    for part in (made.unet, made.text_encoder):
        for weight in part.parameters():
            weight.data = weight.data.half()
    made.unet.set_attn_processor(AttnProcessor2_0())
    return made


class TestEstimate:
    def test_of_a_chain_whose_answer_is_known(self) -> None:
        def work() -> None:
            one = torch.zeros(1000)  # 4,000 bytes
            two = one + 1
            del one
            two.view(10, 100).mul_(2)  # neither is a new tensor
            three = two + two
            del two, three
            torch.zeros(10)

        assert peak_bytes(work) == 8000

    @torch.no_grad()
    def test_is_what_the_real_work_takes(self) -> None:
        real, latents = backbone(), torch.randn(CELLS)
        estimate = MemoryEstimate(real)
        words = real.embed(["a sign"])
        for estimated, work in (
            (estimate.unet_bytes, lambda: real.predict(latents, 1, words)),
            (estimate.encoder_bytes, lambda: real.encode(torch.rand(1, 3, SIDE, SIDE))),
            (estimate.decoder_bytes, lambda: real.decode(latents)),
        ):
            taken = peak_bytes(work)
            assert taken == pytest.approx(estimated(), rel=0.15)
        given = latents.clone().requires_grad_()
        with torch.enable_grad():
            taken = peak_bytes(lambda: real.decode(given).sum().backward())
        assert taken == pytest.approx(estimate.gradient_bytes(), rel=0.15)

    @torch.no_grad()
    def test_grows_with_the_latent_images(self) -> None:
        real = backbone()
        latents, words = torch.randn(CELLS).repeat(6, 1, 1, 1), real.embed(["a sign"] * 6)
        taken = peak_bytes(lambda: real.predict(latents, 1, words))
        assert taken == pytest.approx(6 * MemoryEstimate(real).unet_bytes(), rel=0.1)

    def test_changes_nothing(self) -> None:
        real, before = backbone(), torch.random.get_rng_state()
        calls = real.calls
        MemoryEstimate(real).gradient_bytes()
        assert real.calls == calls
        assert all(weight.device.type == "cpu" for weight in real.parameters())
        assert torch.equal(torch.random.get_rng_state(), before)

    @pytest.mark.slow
    def test_of_stable_diffusion_is_of_the_known_size(self) -> None:
        made = stable_diffusion()
        assert weight_bytes(made) == pytest.approx(2.14 * GIGABYTE, rel=0.01)
        assert 0.03 * GIGABYTE < MemoryEstimate(made).unet_bytes() < 0.3 * GIGABYTE
        assert 0.4 * GIGABYTE < MemoryEstimate(made).decoder_bytes() < 2 * GIGABYTE
        config = InversionConfig()
        plan = make_do(made, InversionEditor.work_of(config), Room(14 * GIGABYTE, True))
        assert plan.images == ROUND
        assert 2 * GIGABYTE < plan.working < 14 * GIGABYTE
        assert "The diffusion model takes 2.1 GB" in cost_sentences(made, 1, plan, 1)


def set_up(made: LatentBackbone) -> tuple[Any, ...]:
    """All of a backbone's set-up that an estimate depends on."""
    attention = tuple(
        (type(processor), getattr(processor, "slice_size", 0))
        for processor in made.unet.attn_processors.values()
    )
    again = made.limits.recompute, getattr(made.vae.decoder, "gradient_checkpointing", False)
    return attention, again, made.vae.use_tiling and made.vae.tile_sample_min_size


@pytest.fixture(scope="module")
def estimated_once() -> Iterator[None]:
    """A set-up, of which there are few, is estimated once for all backbones of this file."""
    known: dict[tuple[Any, ...], int] = {}

    def once(name: str) -> Callable[[MemoryEstimate], int]:
        estimate = getattr(MemoryEstimate, name)

        def call(self: MemoryEstimate) -> int:
            key = (name, *set_up(self._backbone))
            if key not in known:
                known[key] = estimate(self)
            return known[key]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("unet_bytes", "encoder_bytes", "decoder_bytes", "gradient_bytes"):
            patch.setattr(MemoryEstimate, name, once(name))
        yield


@pytest.mark.usefixtures("estimated_once")
class TestPlan:
    def test_where_there_is_room_nothing_is_spared(self) -> None:
        made = backbone()
        plan = make_do(made, InversionEditor.work_of(InversionConfig()), EVERYTHING)
        assert plan.spared == ()
        assert plan.images == ROUND
        assert made.limits is plan.limits
        assert not plan.limits.recompute
        asked = ROUND * 4 * 2
        assert min(plan.limits.images, plan.limits.unet, plan.limits.vae) >= asked

    @pytest.mark.parametrize("gradients", [0, 4])
    def test_it_fits(self, gradients: int) -> None:
        made, work = backbone(), Work(4, True, gradients)
        whole = make_do(made, work, EVERYTHING).working
        seen = []
        for share in (2, 8, 32):
            room = Room(whole // share, True)
            plan = make_do(made, work, room)
            assert plan.working <= room.usable
            seen.append((plan.images, plan.limits.unet, plan.limits.vae))
            assert plan.limits.recompute == bool(gradients), "always on a GPU"
        assert seen == sorted(seen, reverse=True)
        assert seen[0] > seen[-1]

    def test_a_gpu_on_which_not_one_image_fits_is_told(self) -> None:
        with pytest.raises(UserError, match=r"Even one image .* smaller --backbone\.$"):
            make_do(backbone(), Work(4), Room(10_000, True))
        with pytest.raises(UserError, match=r"or a --tiny-decoder\.$"):
            make_do(backbone(), Work(4, gradients=4), Room(10_000, True))

    def test_on_a_processor_it_goes_on_with_one(self) -> None:
        plan = make_do(backbone(), Work(4), Room(10_000, False))
        assert (plan.images, plan.limits.unet, plan.limits.vae) == (1, 1, 1)

    def test_the_decoder_spares_step_by_step(self) -> None:
        made, work = backbone(), Work(1, gradients=1)
        assert not make_do(made, work, EVERYTHING).limits.recompute
        plan = make_do(made, work, Room(10, False))
        assert plan.limits.recompute
        words = " ".join(plan.spared)
        for expected in ("computed again", "block by block", "decoded in tiles", "in slices"):
            assert expected in words
        assert made.vae.use_tiling
        assert made.vae.decoder.gradient_checkpointing
        make_do(made, work, EVERYTHING)
        assert not made.vae.use_tiling, "all of it is taken back where there is room"
        assert not made.vae.decoder.gradient_checkpointing

    def test_graphs_that_are_kept_count(self) -> None:
        made = backbone()
        plain = make_do(made, Work(4), EVERYTHING)
        guided = make_do(made, Work(4, gradients=4), EVERYTHING)
        assert guided.working > 2 * plain.working

    def test_methods_need_what_they_do(self) -> None:
        assert InversionEditor.work_of(InversionConfig(concepts=3, guidance=1)) == Work(3)
        assert InversionEditor.work_of(InversionConfig(detector_guidance=0.1)) == Work(4, True, 4)
        assert DiffEditEditor.work_of(DiffEditConfig()) == Work(1, True)
        assert LatentEditor.work_of(LatentConfig(batch_size=5)) == Work(4, True, 20)


@pytest.mark.usefixtures("estimated_once")
class TestAttention:
    """The right calls for the device, which is not there."""

    def kinds(self, made: LatentBackbone) -> set[str]:
        return {type(processor).__name__ for processor in made.unet.attn_processors.values()}

    def test_is_fused_on_a_gpu_and_never_sliced(self) -> None:
        made = backbone()
        make_do(made, Work(1), Room(GIGABYTE, True))
        assert self.kinds(made) == {"AttnProcessor2_0"}
        with pytest.raises(UserError):
            make_do(made, Work(1), Room(10, True))
        assert self.kinds(made) == {"AttnProcessor2_0"}

    def test_is_plain_on_a_processor_and_sliced_where_memory_is_small(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = backbone()
        make_do(made, Work(1), EVERYTHING)
        assert self.kinds(made) == {"AttnProcessor"}
        asked: list[str] = []
        slices: Callable[[str], None] = made.unet.set_attention_slice
        monkeypatch.setattr(
            made.unet, "set_attention_slice", lambda size: (asked.append(size), slices(size))
        )
        assert make_do(made, Work(1), Room(10, False)).spared[0].endswith("in slices.")
        assert asked == ["auto", "max"]
        assert self.kinds(made) == {"SlicedAttnProcessor"}


@pytest.mark.usefixtures("estimated_once")
class TestGpu:
    """CUDA as if there were one."""

    @pytest.fixture
    def moved(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        moved: list[Any] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (GIGABYTE, 2 * GIGABYTE))
        monkeypatch.setattr(LatentBackbone, "to", lambda self, device: moved.append(device))
        return moved

    def test_it_goes_there_if_its_weights_fit(
        self, moved: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = backbone()
        place(made)
        assert moved == ["cuda"]
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1000, 2 * GIGABYTE))
        with pytest.raises(UserError, match="left; free some of its memory"):
            place(made)
        assert moved == ["cuda"]

    def test_room_is_what_is_free_there(self, moved: list[Any]) -> None:
        room = Room.on(torch.device("cuda"))
        assert (room.free, room.is_gpu) == (GIGABYTE, True)
        assert room.usable < room.free
        assert not Room.on(torch.device("cpu")).is_gpu

    def test_an_explainer_settles_once(
        self, moved: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Room, "on", lambda _: Room(GIGABYTE, True))
        config = InversionConfig(concepts=2, steps=4, mask=MaskConfig(maps=1))
        editor = InversionEditor(backbone(), config, ["a sign"])
        plan = editor.settled()
        assert editor.settled() is plan
        assert moved == ["cuda"]
        begins = f"Each image takes {editor.unet_calls} calls of the U-net, once"
        assert editor.cost.startswith(begins)
