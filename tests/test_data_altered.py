from random import Random

import numpy as np
import pytest
import torch

from ifnormal.data.setups.altered import altered_images, disordered, outlined, recoloured, rewritten


def signs(count: int = 6, channels: int = 3, side: int = 32) -> torch.Tensor:
    """Red rings around a white plate, each with another figure."""
    y, x = torch.meshgrid(*(torch.arange(side) - side // 2,) * 2, indexing="ij")
    distance = (x**2 + y**2).float().sqrt() / side
    image = torch.full((3, side, side), 60.0)
    image[:, distance < 0.42] = torch.tensor([[200.0], [20.0], [30.0]])
    image[:, distance < 0.32] = 230.0
    images = image.repeat(count, 1, 1, 1)
    for n in range(count):
        images[n, :, 10 : 17 + n, 14:18] = 10.0
    return images[:, :channels].to(torch.uint8)


def test_the_seed_decides_them_and_more_begin_with_the_same() -> None:
    normal = signs()
    first = altered_images(normal, 20, 3)
    assert first.shape == (20, 3, 32, 32)
    assert first.dtype == torch.uint8
    assert torch.equal(first, altered_images(normal, 30, 3)[:20])
    assert not torch.equal(first, altered_images(normal, 20, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_one_is_clearly_unlike_every_normal_image(channels: int) -> None:
    normal = signs(channels=channels)
    altered = altered_images(normal, 100, 0)
    assert altered.shape[1] == channels
    # The normal images themselves differ in the length of one stroke only.
    change = (altered[:, None].int() - normal[None].int()).abs().amax(2)
    assert (change > 30).flatten(2).float().mean(2).amin() > 0.01


def test_images_without_structure_end() -> None:
    assert altered_images(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 5, 0).shape[0] == 5


def test_colours_change_places_and_nothing_else() -> None:
    image = signs(1)[0].permute(1, 2, 0).numpy()
    made = recoloured(image, Random(0))
    assert np.array_equal(np.sort(made, -1), np.sort(image, -1))
    assert not np.array_equal(made[..., 0], image[..., 0])


def test_tiles_change_places_and_nothing_else() -> None:
    image = np.arange(24 * 24 * 3, dtype=np.int64).reshape(24, 24, 3) % 251
    for seed in range(5):
        made = disordered(image.astype(np.uint8), Random(seed))
        assert not np.array_equal(made, image)
        assert np.array_equal(np.sort(made, None), np.sort(image.astype(np.uint8), None))


@pytest.mark.parametrize("kind", [rewritten, outlined])
def test_the_corners_stay_what_they_were(kind: object) -> None:
    image = signs(1)[0].permute(1, 2, 0).numpy()
    for seed in range(10):
        made = kind(image, Random(seed))  # type: ignore[operator]
        assert not np.array_equal(made, image)
        for rows in (slice(0, 1), slice(-1, None)):
            assert np.array_equal(made[rows, :1], image[rows, :1])
            assert np.array_equal(made[rows, -1:], image[rows, -1:])
