"""BigGAN's networks against their published description: counts, initial weights, spectral norm, attention, class norm, projection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganhpc.core.errors import UserError
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.nets import biggan as nets
from ganhpc.train.nets.spectral_norm import Spectral, SpectralConv2d, SpectralEmbedding, SpectralLinear
from jobs.biggan import BigGan

# -- networks -------------------------------------------------------------------------------------------------------------

CIFAR = {"image_size": 32, "base_channels": 64, "latent_dim": 128, "classes": 10}
HIERARCHICAL = {"hierarchical": True}
COUNTS = [
    (CIFAR, 4_304_387, 4_207_361, 1_681_129_472, 1_081_016_576),
    (CIFAR | {"classes": 1}, 4_276_739, 4_205_057, 1_681_129_472, 1_081_016_576),
    (CIFAR | HIERARCHICAL | {"shared": 128}, 4_373_251, 4_207_361, 1_681_227_776, 1_081_016_576),
    ({"image_size": 64, "base_channels": 64, "latent_dim": 120, "classes": 1000, "shared": 128, "attention": 32} | HIERARCHICAL,
     31_969_540, 20_571_842, 7_255_357_440, 1_113_523_200),
    ({"image_size": 64, "base_channels": 32, "latent_dim": 100, "shared": 128, "attention": 32} | HIERARCHICAL,
     8_374_660, 4_894_306, 1_828_270_592, 282_821_120),
    ({"image_size": 128, "base_channels": 96, "latent_dim": 120, "classes": 1000, "shared": 128, "attention": 64} | HIERARCHICAL,
     70_433_988, 87_982_370, 21_121_524_480, 10_836_641_280),
    ({"image_size": 32, "base_channels": 16, "latent_dim": 64, "shared": 32} | HIERARCHICAL, 290_499, 265_409, 106_418_176, 68_927_552),
    ({"image_size": 64, "base_channels": 8, "latent_dim": 100, "shared": 32} | HIERARCHICAL, 573_283, 307_609, 113_021_056, 17_948_800),
    ({"image_size": 64, "base_channels": 16, "latent_dim": 100, "shared": 32, "attention": 32} | HIERARCHICAL,
     2_085_764, 1_225_970, 464_068_864, 72_925_440),
]  # fmt: skip
"""Arguments; parameters of G and D; multiply-accumulate pairs of both for one image."""


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def pairs(net: nn.Module, *given: Tensor) -> int:
    """Multiply-accumulate pairs of convolutions, linear layers and attention for one image, from the shapes alone."""
    total = 0

    def count(module: Any, given: Any, out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nets.Attention):
            side = given[0].shape[-1]
            width = given[0].shape[1]
            total += side**2 * (side // 2) ** 2 * (width // 8 + width // 2)
        else:
            total += module.weight.numel() * (out.shape[-1] * out.shape[-2] if isinstance(module, nn.Conv2d) else 1)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nets.Attention):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(*given)
    return total


@pytest.mark.parametrize(("arguments", "of_g", "of_d", "macs_g", "macs_d"), COUNTS)
def test_networks_have_the_published_counts(
    arguments: dict[str, Any], of_g: int, of_d: int, macs_g: int, macs_d: int
) -> None:
    own = {key: value for key, value in arguments.items() if key not in ("latent_dim", "shared", "hierarchical")}
    with torch.device("meta"):
        g, d = nets.Generator(**arguments).eval(), nets.Discriminator(**own).eval()
        assert (parameters(g), parameters(d)) == (of_g, of_d)
        side = arguments["image_size"]
        assert pairs(g, torch.zeros(1, g.latent_dim)) == macs_g
        assert pairs(d, torch.zeros(1, 3, side, side)) == macs_d


def test_our_own_count_and_fvcores_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the products of the power iteration, which belong to no image."""
    monkeypatch.setattr(Spectral, "normalised", lambda self: self.weight)
    g = nets.Generator(image_size=32, base_channels=16, latent_dim=64, shared=32, hierarchical=True)
    d = nets.Discriminator(image_size=32, base_channels=16)
    for net, shape, wanted in ((g, (64,), 106_418_176), (d, (3, 32, 32), 68_927_552)):
        found = describe(net, shape)
        assert found.macs == pytest.approx(wanted, rel=1e-4)
        assert found.fvcore["macs"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"image_size": 48}, "--image-size 48: .* 32, 64, 128"),
        ({"attention": 8}, "--attention 8 at --image-size 32: .* choose one of 16"),
        ({"hierarchical": True}, "--hierarchical needs --shared"),
        ({"hierarchical": True, "shared": 4, "latent_dim": 3}, "--latent-dim of 4 at least"),
        ({"attention": 16, "base_channels": 1}, "self-attention needs 8 channels and has 4"),
        ({"init": "xavier"}, "--init 'xavier'"),
    ],
)
def test_networks_that_cannot_be_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        nets.Generator(**{"base_channels": 2, "latent_dim": 8, **values})
    if {"image_size", "attention"} & {*values} and "base_channels" not in values:
        with pytest.raises(UserError, match=sentence):  # before anything is submitted
            BigGan().replace(**values)


def test_initial_weights_are_the_published_ones() -> None:
    torch.manual_seed(0)
    small = nets.Generator(base_channels=16, shared=32, latent_dim=64, hierarchical=True)
    values = torch.cat(
        [p.detach().flatten() for name, p in small.named_parameters() if name.endswith("weight") and p.dim() > 1]
    )
    assert float(values.std()) == pytest.approx(0.02, rel=0.02)
    matrix = nets.Discriminator(base_channels=4, init="ortho").blocks[1].conv_1.weight.detach().flatten(1)  # type: ignore[union-attr]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5, rtol=0)


# -- spectral norm, attention, class norm ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer", [lambda: SpectralConv2d(5, 7, 3), lambda: SpectralLinear(9, 4), lambda: SpectralEmbedding(6, 5)]
)
def test_spectral_norm_finds_the_largest_singular_value(layer: Any) -> None:
    torch.manual_seed(1)
    net = layer()
    for _ in range(300):
        normalised = net.normalised()
    true = float(torch.linalg.matrix_norm(net.weight.detach().flatten(1), 2))
    assert float((net.weight / normalised).flatten()[0].detach()) == pytest.approx(true, rel=1e-5)
    assert float(torch.linalg.matrix_norm(normalised.detach().flatten(1), 2)) == pytest.approx(1, rel=1e-5)


def test_one_power_iteration_a_training_pass_and_none_kept_in_evaluation() -> None:
    torch.manual_seed(0)
    net = SpectralLinear(6, 4)
    matrix, u = net.weight.detach(), net.u.clone()
    v = nn.functional.normalize(u @ matrix, dim=1)
    following = nn.functional.normalize(v @ matrix.T, dim=1)
    net(torch.zeros(1, 6))
    torch.testing.assert_close(net.u, following)
    kept = net.u.clone()
    net.eval()(torch.zeros(1, 6))
    assert torch.equal(net.u, kept)
    assert "u" in net.state_dict() and "u" not in dict(net.named_parameters())


def test_the_estimate_is_differentiated_and_its_vectors_are_not() -> None:
    torch.manual_seed(0)
    net = SpectralLinear(5, 3, bias=False).double().eval()
    net.u.copy_(torch.randn(1, 3))
    x = torch.randn(2, 5, dtype=torch.double)
    v = nn.functional.normalize(net.u.float() @ net.weight.detach().float(), eps=1e-6)
    u = nn.functional.normalize(v @ net.weight.detach().float().T, eps=1e-6)

    def by_hand(weight: Tensor) -> Tensor:
        return (x @ (weight / (v.double() @ weight.T @ u.T.double()).squeeze()).T).square().sum()

    (wanted,) = torch.autograd.grad(by_hand(net.weight), net.weight)
    (found,) = torch.autograd.grad(net(x).square().sum(), net.weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_attention_begins_as_the_identity_and_is_the_published_one_after() -> None:
    torch.manual_seed(0)
    layer = nets.Attention(16).eval()
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        theta, phi, g = (getattr(layer, name)(x) for name in ("theta", "phi", "g"))
        phi, g = (nn.functional.max_pool2d(each, 2).flatten(2) for each in (phi, g))
        for n in range(2):
            likeness = torch.stack(
                [
                    torch.stack([(theta[n, :, i, j] * phi[n, :, k]).sum() for k in range(16)]).softmax(0)
                    for i in range(8)
                    for j in range(8)
                ]
            )
            gathered = (g[n] @ likeness.T).view(1, 8, 8, 8)
            torch.testing.assert_close(layer(x)[n], 0.7 * layer.o(gathered)[0] + x[n], rtol=1e-4, atol=1e-5)


def test_class_norm_scales_and_shifts_by_class() -> None:
    layer = nets.ClassNorm(4, 3, None)
    x, y = torch.randn(6, 4, 5, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    gain, bias = layer.gain.weight[y][:, :, None, None], layer.bias.weight[y][:, :, None, None]  # type: ignore[union-attr, index]
    torch.testing.assert_close(layer(x, y), plain * (1 + gain) + bias, rtol=1e-4, atol=1e-5)
    halves = torch.tensor([[0.5, 0.5, 0.0]])
    torch.testing.assert_close(nets.mixed(layer.gain, halves)[0], layer.gain.weight[:2].mean(0))  # type: ignore[union-attr, index]


def test_a_generators_picture_depends_on_class_and_on_each_piece_of_its_vector() -> None:
    torch.manual_seed(0)
    net = nets.Generator(base_channels=4, latent_dim=18, shared=4, hierarchical=True, init="ortho").eval()
    assert net.latent_dim == 16, "four pieces of four"
    z = torch.randn(1, 16)
    first = net(z, torch.tensor([0]))
    assert float(first.abs().max()) <= 1 and first.shape == (1, 3, 32, 32)
    assert not torch.allclose(first, net(z, torch.tensor([1])), atol=1e-4)
    for piece in range(4):
        other = z.clone()
        other[:, 4 * piece : 4 * piece + 4] += 1
        assert not torch.allclose(first, net(other, torch.tensor([0])), atol=1e-4)
    shares = torch.eye(10)[:2]
    torch.testing.assert_close(net(z.repeat(2, 1), shares), net(z.repeat(2, 1), torch.tensor([0, 1])))


def test_the_discriminator_projects_its_features_on_the_class() -> None:
    torch.manual_seed(0)
    net = nets.Discriminator(base_channels=2).eval()
    images, y = torch.randn(3, 3, 32, 32), torch.tensor([0, 4, 9])
    h = net.blocks(images).relu().sum((2, 3))
    wanted = net.linear(h).squeeze(1) + (net.embedding(y) * h).sum(1)
    torch.testing.assert_close(net(images, y), wanted)
