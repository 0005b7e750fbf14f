"""Turning, enlarging and recolouring of training images."""

from __future__ import annotations

import math

import torch

from ganhpc.train.data import augment


def test_affine_of_nothing_changes_nothing_and_a_quarter_turn_is_exact() -> None:
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    still = augment.affine(images, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(still, images, rtol=0, atol=1e-6)
    turned = augment.affine(images, torch.tensor([0.0, math.pi / 2, -math.pi / 2]), torch.ones(3))
    torch.testing.assert_close(turned[0], images[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(turned[1], images[1].rot90(1, (1, 2)), rtol=0, atol=1e-5)
    torch.testing.assert_close(turned[2], images[2].rot90(-1, (1, 2)), rtol=0, atol=1e-5)


def test_affine_enlarges_about_the_middle() -> None:
    images = torch.zeros(1, 1, 8, 8)
    images[:, :, 2:6, 2:6] = 1
    twice = augment.affine(images, torch.zeros(1), torch.full((1,), 2.0))
    assert twice.mean() > 0.85, "the square of half the side now fills the image"


def test_hue_keeps_greys_and_brightness_and_turns_back() -> None:
    grey = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(augment.hue(grey, torch.tensor([1.0, -2.0])), grey, rtol=0, atol=1e-3)
    images = (torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.4
    angles = torch.tensor([0.7, -0.4])
    turned = augment.hue(images, angles)
    assert (turned - images).abs().mean() > 0.02
    torch.testing.assert_close(augment.hue(turned, -angles), images, rtol=0, atol=1e-4)
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(
        torch.einsum("c,bchw->bhw", luma, turned), torch.einsum("c,bchw->bhw", luma, images), rtol=0, atol=1e-4
    )
