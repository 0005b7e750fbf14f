"""Generators, discriminators and critics: golden parameter counts, shapes, ranges, padding, initialisation, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.train.data import lines
from ganhpc.train.nets import began, dcgan, line_generator, wgan_gp
from ganhpc.train.nets.gan_init import count_parameters


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def images(size: int, n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, size, size) * 2 - 1


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (dcgan.W13Generator, 6_065_155),
        (dcgan.W13Discriminator, 2_791_105),
        (dcgan.TutorialGenerator, 3_576_704),
        (dcgan.TutorialDiscriminator, 2_765_568),
        (began.Generator, 489_539),
        (began.Discriminator, 1_471_043),
        (wgan_gp.Generator, 18_727_043),
        (wgan_gp.Critic, 6_264_065),
    ],
)
def test_the_counts_of_the_published_networks(net, count):
    assert count_parameters(net()) == count


@pytest.mark.parametrize(
    ("variant", "generator", "discriminator", "together"),
    [
        ("began", 489_539, 1_471_043, 1_960_582),
        ("abegan", 341_827, 1_323_331, 1_665_158),
        ("sabegan", 341_827, 1_323_331, 1_323_331),
    ],
)
def test_began_variants(variant, generator, discriminator, together):
    g, d = began.build(variant=variant)
    assert (count_parameters(g), count_parameters(d), count_parameters(g, d)) == (generator, discriminator, together)
    assert (d.decoder is g) == (variant == "sabegan")


PAIRS = {
    "w13": lambda size: (
        dcgan.W13Generator(image_size=size, base_channels=4),
        dcgan.W13Discriminator(image_size=size, base_channels=4),
    ),
    "tutorial": lambda size: (
        dcgan.TutorialGenerator(image_size=size, base_channels=4),
        dcgan.TutorialDiscriminator(image_size=size, base_channels=4),
    ),
    "began": lambda size: began.build(image_size=size, base_channels=4, latent_dim=8),
    "abegan": lambda size: began.build(
        image_size=size, base_channels=4, latent_dim=8, variant="abegan", activation="relu"
    ),
    "sabegan": lambda size: began.build(image_size=size, base_channels=4, latent_dim=8, variant="sabegan"),
    "wgan-gp": lambda size: (
        wgan_gp.Generator(image_size=size, base_channels=4),
        wgan_gp.Critic(image_size=size, base_channels=4),
    ),
    "strips": lambda size: (
        line_generator.Generator(image_size=size, width=8, latent_dim=5),
        wgan_gp.Critic(image_size=size, base_channels=4),
    ),
}


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("name", PAIRS)
def test_sizes_ranges_and_gradients(name, size):
    generator, judge = PAIRS[name](size)
    made = generator(torch.randn(2, generator.latent_dim))
    assert made.shape == (2, 3, size, size)
    assert made.abs().max() <= 1
    verdict = judge(made)
    assert verdict.shape == (made.shape if "began" in name else (2,))
    verdict.square().mean().backward()
    for parameter in [*generator.parameters(), *judge.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_w13_puts_the_activation_before_the_normalisation_and_takes_its_eps():
    net = dcgan.W13Discriminator(base_channels=4, bn_eps=0.5)
    kinds = [type(layer) for layer in net.shrink]
    assert kinds[:5] == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.LeakyReLU, nn.BatchNorm2d]
    assert [m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)] == [0.5] * 3
    sides = []
    for layer in net.shrink:
        layer.register_forward_hook(lambda m, _, out: sides.append(out.shape[-1]) if isinstance(m, nn.Conv2d) else None)
    net(images(64))
    assert sides == [32, 16, 17, 8]


def test_the_tutorial_has_no_biases_but_those_of_its_normalisation():
    for net in (dcgan.TutorialGenerator(base_channels=4), dcgan.TutorialDiscriminator(base_channels=4)):
        assert all(m.bias is None for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)))


def keras_same_convolution(image: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """TensorFlow's definition by loops: output ceil(n / stride), floor of half of the padding before."""
    n, k = image.shape[0], kernel.shape[0]
    out = -(-n // stride)
    before = max((out - 1) * stride + k - n, 0) // 2
    made = torch.zeros(out, out)
    for row in range(out):
        for column in range(out):
            for i in range(k):
                for j in range(k):
                    y, x = row * stride + i - before, column * stride + j - before
                    if 0 <= y < n and 0 <= x < n:
                        made[row, column] += image[y, x] * kernel[i, j]
    return made


def test_the_critic_pads_as_keras_does():
    critic = wgan_gp.Critic(image_size=32, channels=1, base_channels=1)
    pad, convolution = critic.shrink[0], critic.shrink[1]
    nn.init.zeros_(convolution.bias)
    image = torch.randn(8, 8)
    ours = convolution(pad(image[None, None]))[0, 0]
    torch.testing.assert_close(ours, keras_same_convolution(image, convolution.weight[0, 0], 2), rtol=1e-4, atol=1e-5)


def test_the_generator_transposes_keras_same_convolutions():
    """A transposed convolution is the gradient of the convolution with respect to its input."""
    generator = wgan_gp.Generator(image_size=32, channels=1, base_channels=1)
    layer = generator.grow[-2]
    assert isinstance(layer, nn.ConvTranspose2d)
    small, large = torch.randn(4, 4), torch.randn(8, 8, requires_grad=True)
    keras_same_convolution(large, layer.weight[0, 0], 2).mul(small).sum().backward()
    ours = nn.functional.conv_transpose2d(small[None, None], layer.weight[:1, :1], None, layer.stride, layer.padding)[
        0, 0
    ]
    torch.testing.assert_close(ours, large.grad, rtol=1e-4, atol=1e-5)


def test_a_critic_has_a_second_derivative_for_the_penalty():
    critic = wgan_gp.Critic(image_size=32, base_channels=4)
    x = images(32).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    (slope.flatten(1).norm(dim=1) - 1).square().mean().backward()
    assert critic.shrink[1].weight.grad.abs().sum() > 0


def test_the_shared_generation_net_learns_from_both_sides():
    g, d = began.build(variant="sabegan", base_channels=4, latent_dim=8)
    d(images(32)).mean().backward()
    assert g.project.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("weight", "deviation"),
    [
        (lambda: dcgan.W13Generator().grow[1].weight, (2 / ((512 + 256) * 16)) ** 0.5),
        (lambda: began.Discriminator().encoder.embed.weight, (2 / (8192 + 64)) ** 0.5),
        (lambda: dcgan.TutorialGenerator().layers[3].weight, 0.02),
        (lambda: wgan_gp.Generator(base_channels=32).project[0].weight, 0.02),
    ],
)
def test_initial_deviations(weight, deviation):
    assert weight().std().item() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    "build", [dcgan.W13Generator, dcgan.TutorialGenerator, dcgan.TutorialDiscriminator, began.Generator, wgan_gp.Critic]
)
@pytest.mark.parametrize("size", [0, 7, 33, 100])
def test_a_size_that_does_not_fit_is_a_sentence(build, size):
    with pytest.raises(UserError, match=f"--image-size {size}"):
        build(image_size=size)


def test_other_bad_options_are_sentences():
    with pytest.raises(UserError, match="--variant 'cbegan': choose one of began, abegan, sabegan"):
        began.build(variant="cbegan")
    with pytest.raises(UserError, match="--activation 'sin'"):
        began.build(activation="sin")
    with pytest.raises(UserError, match="--latent-dim 0"):
        dcgan.W13Generator(latent_dim=0)
    with pytest.raises(UserError, match="--depth 1"):
        wgan_gp.Critic(depth=1)


def forced(**choices: list[int]) -> line_generator.Generator:
    """A strips generator at 12 pixels that always chooses the given `place` and `colour` of each line; the palette is that of the lines."""
    net = line_generator.Generator(image_size=12, width=4, latent_dim=2, colours=4).eval()
    with torch.no_grad():
        for name, chosen in choices.items():
            choice = getattr(net, name)
            choice.logits.weight.zero_()
            choice.norm.running_mean.fill_(0).view(3, -1)[range(3), chosen] = -50.0
            choice.scale.fill_(1.0)
        net.palette.copy_((torch.tensor(lines.PALETTE) / 127.5 - 1).clamp(-0.999, 0.999).atanh())
        net.background.fill_(-5.0)
        net.profile.copy_(torch.tensor([-20.0, -20.0, -20.0, 20.0, -20.0, -20.0, -20.0]))
    return net


def test_strips_draw_the_pictures_of_the_lines_when_their_choices_are_sharp():
    net = forced(place=[3, 10, 5], colour=[2, 0, 3])
    layouts = lines.Layouts(torch.tensor([[3, 10, 5]]), torch.tensor([[2, 0, 3]]))
    expected = lines.render(layouts, 12).float() / 127.5 - 1
    torch.testing.assert_close(net(torch.randn(1, 2)), expected, rtol=0, atol=0.01)


def test_the_profile_is_the_thickness_of_a_line_cut_at_the_border():
    net = forced(place=[0, 11, 6], colour=[0, 0, 0])
    with torch.no_grad():
        net.profile[2:5] = 20.0
        drawn = net(torch.randn(1, 2))[0].mean(0) > 0
    assert drawn.all(1).tolist() == [False] * 5 + [True] * 3 + [False] * 2 + [True] * 2
    assert drawn.all(0).tolist() == [True] * 2 + [False] * 10


def test_every_place_and_colour_of_an_untrained_strips_generator_is_chosen_and_one_alone():
    net = line_generator.Generator()
    features = net.trunk(torch.randn(2000, net.latent_dim))
    for choice, among in ((net.place, 32), (net.colour, 6)):
        weights = choice(features)
        torch.testing.assert_close(weights.sum(2), torch.ones(2000, 3))
        assert all(len(weights[:, line].argmax(1).unique()) == among for line in range(3))
        assert weights.max(2).values.mean() > 0.8


def test_strips_without_a_line_are_refused():
    with pytest.raises(UserError, match="one line or more"):
        line_generator.Generator(columns=0, rows=0)
    assert line_generator.Generator(columns=0, rows=1)(torch.randn(2, 16)).shape == (2, 3, 32, 32)
