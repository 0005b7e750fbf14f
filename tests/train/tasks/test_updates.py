"""The order of the updates and the losses: each GAN's step against the plain loop of its source, written out here."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.train.tasks.tiny import steps, task_of, tiny, weights

STEPS = 4


def compare(task: Any, reference: dict[str, nn.Module]) -> None:
    """The task's networks are the reference's, to rounding: the filters, and what the networks make in training mode.

    A bias before batch normalisation has no gradient but rounding, which Adam blows up to whole steps, and no effect either.
    """
    for name, module in reference.items():
        for key, value in module.named_parameters():
            if value.dim() > 1:
                ours = task.modules[name].get_parameter(key)
                torch.testing.assert_close(ours, value, rtol=1e-4, atol=5e-6, msg=lambda m, k=key: f"{k}: {m}")
        inputs = torch.randn(16, *task.example_inputs(name)[0].shape[1:])
        torch.testing.assert_close(task.modules[name].train()(inputs), module.train()(inputs), rtol=1e-3, atol=1e-5)


def adam(net: nn.Module, lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.999))


@pytest.mark.parametrize(("case", "noise"), [("dcgan", 0.0), ("tutorial", 0.0), ("dcgan", 0.5)])
def test_dcgan_trains_like_the_plain_loop(case: str, noise: float) -> None:
    """The loop of the PyTorch tutorial, with the label and the noise of the internship notes."""
    task = task_of(tiny(case, noise=noise))
    nets = copy.deepcopy(task.modules)
    net_g, net_d = nets["generator"], nets["discriminator"]
    adam_g, adam_d = adam(net_g, 1e-3), adam(net_d, 5e-4)
    for step in range(STEPS):
        images, z, label, drawn = task.batch(0, step)
        assert (drawn is None) == (noise == 0)
        rand = 0 if drawn is None else drawn
        fake = net_g(z)
        net_d.zero_grad()
        F.binary_cross_entropy_with_logits(net_d(images + rand), torch.full((16,), label.item())).backward()
        F.binary_cross_entropy_with_logits(net_d(fake.detach() + rand), torch.zeros(16)).backward()
        adam_d.step()
        net_g.zero_grad()
        F.binary_cross_entropy_with_logits(net_d(fake + rand), torch.ones(16)).backward()
        adam_g.step()
    steps(task, STEPS)
    compare(task, nets)


@pytest.mark.parametrize("case", ["began", "abegan"])
def test_began_trains_like_the_plain_loop(case: str) -> None:
    """The loop of the internship notes, week 5: generator first, then the discriminator on the same pictures, then k."""
    experiment: Any = tiny(case)
    task = task_of(experiment)
    nets = copy.deepcopy(task.modules)
    net_g, net_d = nets["generator"], nets["discriminator"]
    adam_g, adam_d = adam(net_g, 1e-3), adam(net_d, 1e-3)
    k = experiment.k_range[0]
    for step in range(STEPS):
        images, z = task.batch(0, step)
        adam_g.zero_grad()
        fake = net_g(z)
        (net_d(fake) - fake).abs().mean().backward()
        adam_g.step()
        adam_d.zero_grad()
        real_loss = (net_d(images) - images).abs().mean()
        fake_loss = (net_d(fake.detach()) - fake.detach()).abs().mean()
        (real_loss - k * fake_loss).backward()
        adam_d.step()
        difference = 0.5 * real_loss.item() - fake_loss.item()
        k = min(max(k + 0.001 * difference, experiment.k_range[0]), experiment.k_range[1])
        measure = real_loss.item() + abs(difference)
    figures = steps(task, STEPS)
    compare(task, nets)
    assert float(task.k) == pytest.approx(k, rel=1e-5) and k > experiment.k_range[0]
    assert figures[-1]["M"] == pytest.approx(measure, rel=1e-5)


def test_wgan_gp_trains_like_algorithm_1() -> None:
    task = task_of(tiny("wgan-gp"))
    nets = copy.deepcopy(task.modules)
    net_g, critic = nets["generator"], nets["critic"]
    adam_g, adam_c = adam(net_g, 1e-3), adam(critic, 1e-3)
    for step in range(2):
        rounds, z = task.batch(0, step)
        assert len(rounds) == 5
        for images, noise, alpha in rounds:
            assert alpha.shape == (8, 1, 1, 1) and len(alpha.unique()) == 8
            fake = net_g(noise).detach()
            between = (alpha * images + (1 - alpha) * fake).requires_grad_()
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
            penalty = ((slope.pow(2).sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(images).mean() + 10 * penalty
            adam_c.zero_grad()
            loss.backward()
            adam_c.step()
        adam_g.zero_grad()
        (-critic(net_g(z)).mean()).backward()
        adam_g.step()
    figures = steps(task, 2)
    compare(task, nets)
    last = figures[-1]
    assert last["loss_d"] == pytest.approx(last["loss_real"] + last["loss_fake"] + 10 * last["penalty"], rel=1e-4)


def test_every_critic_step_has_images_and_latent_vectors_of_its_own() -> None:
    task = task_of(tiny("wgan-gp"))
    rounds, z = task.batch(0, 0)
    latent = torch.stack([*(r.z for r in rounds), z])
    assert len(latent.flatten(1).unique(dim=0)) == 6
    seen = torch.stack([r.images for r in rounds]).flatten(2).flatten(0, 1)
    assert len(seen.unique(dim=0)) == 40, "an epoch shows each image once"


def test_the_noises_deviation_is_one_draw_a_step_below_its_bound() -> None:
    task = task_of(tiny("dcgan", noise=0.2))
    deviations = [float(task.batch(0, step)[3].std()) for step in range(5)]
    assert len(set(deviations)) == 5 and max(deviations) < 0.21 and min(deviations) < 0.15
    assert torch.equal(task.batch(0, 3)[3], task.batch(0, 3)[3]), "a resumed run draws the same"
    plain = task_of(tiny("dcgan"))
    for ours, theirs in zip(task.batch(0, 0)[:3], plain.batch(0, 0)[:3], strict=True):
        assert torch.equal(ours, theirs), "all else is drawn as without noise"


def test_the_real_label_is_one_draw_a_batch() -> None:
    task = task_of(tiny("dcgan"))
    labels = [float(task.batch(0, step)[2]) for step in range(5)]
    assert len(set(labels)) == 5 and all(0.9 <= label <= 1 for label in labels)
    assert float(task_of(tiny("tutorial")).batch(0, 3)[2]) == 1.0


@pytest.mark.parametrize("case", ["dcgan", "began", "abegan", "sabegan", "wgan-gp", "strips"])
def test_the_adversary_receives_nothing_of_the_generators_update(case: str) -> None:
    task = task_of(tiny(case))
    task.train_mode()
    shared = {id(p) for p in task.generator.parameters()}
    for p in task.adversary.parameters():
        p.grad = None
    z = torch.randn(16, task.latent_dim)
    fakes = task.generator(z)
    before = weights(task)
    task.update_generator(fakes, lambda pictures: task.adversary(pictures).square().mean())
    after = weights(task)
    own = [p for p in task.adversary.parameters() if id(p) not in shared]
    assert own and all(p.grad is None for p in own)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name]) and _trained(name)}
    assert moved == ({"generator", "discriminator"} if case == "sabegan" else {"generator"})


def _trained(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_sabegan_moves_the_shared_net_by_both_updates_and_its_generator_only_by_its_pictures() -> None:
    task = task_of(tiny("sabegan"))
    nets = copy.deepcopy({"all": nn.ModuleDict(task.modules)})["all"]
    net_g, net_d = nets["generator"], nets["discriminator"]
    assert net_d.decoder is net_g
    adam_g, adam_d = adam(net_g, 1e-3), adam(net_d, 1e-3)
    k = 0.0
    for step in range(STEPS):
        images, z = task.batch(0, step)
        fake = net_g(z)
        leaf = fake.detach().requires_grad_()
        pull = torch.autograd.grad((net_d(leaf) - leaf).abs().mean(), leaf)[0]
        adam_g.zero_grad()
        fake.backward(pull)
        adam_g.step()
        adam_d.zero_grad()
        fake = fake.detach()
        real_loss, fake_loss = (error(net_d, images), error(net_d, fake))
        (real_loss - k * fake_loss).backward()
        adam_d.step()
        k = min(max(k + 0.001 * (0.5 * real_loss.item() - fake_loss.item()), 0.0), 1.0)
    steps(task, STEPS)
    compare(task, {"generator": net_g, "discriminator": net_d})


def error(net: nn.Module, images: Tensor) -> Tensor:
    return (net(images) - images).abs().mean()


def test_the_learning_rate_falls_where_m_stalls() -> None:
    task = task_of(tiny("began", stall_epochs=3))
    rates = []
    for mean in (0.9, 0.8, 0.7, 0.8, 0.8, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5):
        task.end_epoch({"M": mean})
        rates.append(task.schedule(0.0)["lr_g"])
    assert rates[:5] == [1e-3] * 5
    assert rates[5] == pytest.approx(9e-4), "a mean of 0.8 is no better"
    assert rates[6:11] == [rates[5]] * 5
    assert rates[11] == pytest.approx(8.1e-4), "nor is another 0.5: it stalls"
    assert task.schedule(0.0)["lr_d"] == rates[11]


def test_the_penalty_is_in_single_precision_under_bf16() -> None:
    task = task_of(tiny("wgan-gp", precision="bf16"))
    types: list[torch.dtype] = []
    task.adversary.score.register_forward_hook(lambda *seen: types.append(seen[-1].dtype))
    steps(task, 1)
    assert types[:2] == [torch.bfloat16, torch.float32], "scores of images, then of points between them"


@pytest.mark.slow  # 3 s of processor time for its 2 cases
@pytest.mark.parametrize(("rate_g", "fooled"), [(1e-2, True), (1e-3, False)])
def test_a_generator_that_is_too_fast_stops_the_discriminator(rate_g: float, fooled: bool) -> None:
    """The finding of the internship notes, week 13: it fools the discriminator for good, and has nothing more to learn from it."""
    rate_d = 4e-5 if fooled else 1e-3
    task = task_of(tiny("dcgan", train_images=320, base_channels=8, batch_size=32, lr=rate_g, lr_d=rate_d))
    figures = steps(task, 60)[-20:]
    score = sum(f["score_fake"] for f in figures) / 20
    loss = sum(f["loss_g"] for f in figures) / 20
    assert (score > 0.9 and loss < 0.1) if fooled else (score < 0.5 and loss > 0.5)
