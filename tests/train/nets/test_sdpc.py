"""SDPC against closed forms: orthonormal dictionaries, optimality conditions, scalars, joint energy, adjoint, atoms, preparation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ganhpc.train.nets import sdpc
from ganhpc.train.nets.sdpc import Layer, Sdpc, adjoint, infer, power, synthesis, unit_atoms
from ganhpc.train.nets.sdpc_preparation import Preparation, border, local_contrast, whitening_filter

ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def eigenvalue(weight: Tensor, layer: Layer, codes: Tensor) -> float:
    vector = torch.rand_like(codes[:1])
    return float(power(vector / vector.norm(), weight, layer, 400)[0])


def test_codes_of_an_orthonormal_dictionary_are_the_closed_form() -> None:
    weight = torch.linalg.qr(draw(16, 16))[0].view(16, 1, 4, 4)
    x, penalty = draw(5, 1, 8, 8, seed=1), 0.3
    layer = Layer(4)
    found = infer(x, [weight], [layer], [ONE], [penalty], [1.0], feedback=1.0, iterations=5)
    torch.testing.assert_close(found.codes[0], (adjoint(x, weight, layer) - penalty).relu(), atol=1e-14, rtol=0)


def test_a_dense_layer_meets_the_optimality_conditions_of_the_lasso() -> None:
    """KKT: W (x - D gamma) <= lambda, with equality where gamma > 0; lambda is that of scikit-learn's `sparse_encode`, without rescaling."""
    weight, x, penalty = unit_atoms(draw(24, 1, 7, 7)), 3 * draw(6, 1, 7, 7, seed=1), 0.2
    layer = Layer(1)
    step = 1 / eigenvalue(weight, layer, adjoint(x, weight, layer))
    found = infer(x, [weight], [layer], [ONE], [penalty], [step], feedback=0.0, iterations=4000)
    pull, codes = adjoint(x - found.painted[0], weight, layer), found.codes[0]
    assert float(pull.max()) <= penalty + 1e-10 and 0 < int((codes > 0).sum()) < codes.numel()
    assert float((pull[codes > 0] - penalty).abs().max()) < 1e-10


def test_a_penalty_above_every_response_leaves_nothing() -> None:
    weight, x = unit_atoms(draw(8, 3, 4, 4)), draw(2, 3, 8, 8, seed=1)
    layer = Layer(2, 1)
    most = float(adjoint(x, weight, layer).max())
    assert not infer(x, [weight], [layer], [ONE], [most], [0.1], feedback=0.0, iterations=20).codes[0].any()
    assert infer(x, [weight], [layer], [ONE], [0.9 * most], [0.1], feedback=0.0, iterations=20).codes[0].any()


@pytest.mark.slow  # 4 s in all
@pytest.mark.parametrize(("feedback", "first", "second"), [(0.0, 0.8, 0.7), (1.0, 0.7, 0.6), (4.0, 0.4, 0.3)])
@pytest.mark.parametrize("accelerate", [True, False])
def test_scalars_have_their_solution(feedback: float, first: float, second: float, accelerate: bool) -> None:
    """gamma_1 = 0.8 - 0.1 b, gamma_2 = gamma_1 - 0.1."""
    found = infer(
        ONE, [ONE, ONE], [Layer(1)] * 2, [ONE, ONE], [0.2, 0.1], [1 / (1 + feedback), 1.0],
        feedback=feedback, iterations=3000, accelerate=accelerate,
    )  # fmt: skip
    assert [float(code) for code in found.codes] == pytest.approx([first, second], abs=1e-9)


class Two:
    """Two layers of random atoms over random images."""

    def __init__(self, feedback: float, scale: float = 1.0) -> None:
        self.feedback, self.scale = feedback, torch.full((1, 1, 1, 1), scale, dtype=torch.float64)
        self.weights = [unit_atoms(draw(8, 1, 4, 4, seed=3)), unit_atoms(draw(12, 8, 3, 3, seed=4))]
        self.layers, self.penalties = [Layer(2, 1), Layer(1, 1)], [0.1, 0.1]
        self.x = 3 * draw(2, 1, 12, 12, seed=5)
        first = adjoint(self.x, self.weights[0], self.layers[0])
        second = adjoint(first, self.weights[1], self.layers[1])
        self.values = [eigenvalue(w, g, c) for w, g, c in zip(self.weights, self.layers, (first, second), strict=True)]

    def run(self, iterations: int, *, accelerate: bool = True, safe: bool = True, layers: int = 2) -> sdpc.Inference:
        steps = [1 / (self.values[0] + (self.feedback if safe else 0)), 1 / self.values[1]]
        return infer(
            self.x, self.weights[:layers], self.layers[:layers], [self.scale] * layers, self.penalties[:layers], steps[:layers],
            feedback=self.feedback, iterations=iterations, accelerate=accelerate,
        )  # fmt: skip

    def joint(self, found: sdpc.Inference) -> float:
        """E of systems with one scale: 1/2 |x - D1 g1|^2 + l1 |g1| + b / v^2 (1/2 |v g1 - D2 g2|^2 + l2 |g2|)."""
        (g1, g2), (p1, p2), v = found.codes, found.painted, self.scale
        own = (self.x - p1).square().sum() / 2 + self.penalties[0] * g1.sum()
        above = (v * g1 - p2).square().sum() / 2 + self.penalties[1] * g2.sum()
        return float(own + self.feedback / v.square() * above)


@pytest.mark.slow  # 5 s in all
@pytest.mark.parametrize(("feedback", "scale"), [(1.0, 1.0), (4.0, 2.0)])
def test_ista_with_one_scale_never_raises_the_joint_energy_and_fista_ends_where_it_does(
    feedback: float, scale: float
) -> None:
    two = Two(feedback, scale)
    energies = [two.joint(two.run(n, accelerate=False)) for n in range(1, 80)]
    assert all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(energies))
    assert energies[0] > 1.01 * energies[-1]
    slow, quick = (two.joint(two.run(n, accelerate=fast)) for n, fast in ((6000, False), (1500, True)))
    assert quick == pytest.approx(slow, rel=1e-9)


def test_the_published_step_leaves_out_the_feedback_and_diverges_where_ours_converges() -> None:
    two = Two(16.0)
    assert math.isfinite(two.joint(two.run(300)))
    with pytest.raises(sdpc.Diverged, match=r"--feedback 16: the inference diverges .* type a smaller one, such as 8"):
        two.run(3000, safe=False)


def test_without_feedback_the_first_layer_is_bit_identical_with_a_lone_one() -> None:
    two = Two(0.0)
    both, lone = two.run(50), two.run(50, layers=1)
    assert torch.equal(both.codes[0], lone.codes[0]) and torch.equal(both.energies[:, 0], lone.energies[:, 0])
    assert not torch.equal(Two(1.0).run(50).codes[0], lone.codes[0])
    assert all(float(code.min()) >= 0 for code in both.codes)


@pytest.mark.parametrize("layer", [Layer(3), Layer(2, 0, 1), Layer(4, 2), Layer(2, 1)])
def test_synthesis_and_adjoint_are_adjoint(layer: Layer) -> None:
    weight, codes = draw(5, 3, 8, 8), draw(2, 5, 4, 4, seed=1)
    painted = synthesis(codes, weight, layer)
    x = draw(*painted.shape, seed=2)
    assert float((painted * x).sum()) == pytest.approx(float((codes * adjoint(x, weight, layer)).sum()), rel=1e-12)


def test_power_iteration_finds_the_largest_eigenvalue_from_below() -> None:
    weight, layer = unit_atoms(draw(4, 1, 3, 3)), Layer(1)
    basis = torch.eye(4 * 16, dtype=torch.float64).view(-1, 4, 4, 4)
    matrix = synthesis(basis, weight, layer).flatten(1)
    wanted = float(torch.linalg.eigvalsh(matrix @ matrix.T)[-1])
    vector = draw(1, 4, 4, 4, seed=1)
    values = [float(power(vector / vector.norm(), weight, layer, n)[0]) for n in (1, 5, 500)]
    assert values[0] < values[1] < values[2] == pytest.approx(wanted, rel=1e-6)


def test_steps_are_safe_after_a_jump_of_the_dictionaries() -> None:
    """One iteration from the old vectors would find a third of the eigenvalue, and the inference would diverge."""
    torch.manual_seed(0)
    net = Sdpc()
    with torch.no_grad():
        net.weights[0].copy_(unit_atoms(0.3 * net.weights[0] + torch.rand(1, 3, 1, 1)))
    net.find_steps()
    found = net.eigenvalues.clone()
    for _ in range(20):
        net.find_steps()
    assert torch.equal(found > 0.97 * net.eigenvalues, torch.tensor([True, True]))


@pytest.mark.parametrize(
    ("arguments", "weights", "scales", "codes"),
    [
        ({}, 143_360, 192, (8, 4)),
        ({"image_size": 96, "kernels": (8, 8), "strides": (2, 1), "paddings": (0, 0)}, 12_288 + 524_288, 192, (45, 38)),
        ({"image_size": 120, "kernels": (9, 9), "strides": (3, 1), "paddings": (0, 0)}, 15_552 + 663_552, 192, (38, 30)),
        ({"image_size": 112, "kernels": (9, 9), "strides": (2, 1), "paddings": (0, 0), "preparation": {"grey": True}},
         5_184 + 663_552, 192, (52, 44)),
        ({"image_size": 28, "atoms": (32, 64), "kernels": (5, 5), "strides": (2, 1), "paddings": (0, 0), "preparation": {"grey": True}},
         800 + 51_200, 96, (12, 8)),
    ],
)  # fmt: skip
def test_published_sizes(arguments: dict[str, object], weights: int, scales: int, codes: tuple[int, int]) -> None:
    with torch.device("meta"):
        net = Sdpc(**arguments)  # type: ignore[arg-type]
        assert sum(w.numel() for w in net.weights) == weights and sum(v.numel() for v in net.scales) == scales
        assert [getattr(net, f"vector_{n}").shape[-1] for n in (1, 2)] == list(codes)
        assert net(torch.zeros(1, *net.image_shape)).shape == (1, *net.image_shape)


@pytest.mark.parametrize(("side", "plain"), [(32, 7_864_320), (64, 31_457_280)])
def test_an_iteration_costs_less_than_the_plain_one_since_each_prediction_is_made_once(side: int, plain: int) -> None:
    """Plainly, both layers of small find D_2 gamma_2: 2,097,152 pairs of multiplication and addition at 32 pixels."""
    found = []
    for iterations in (5, 6):
        torch.manual_seed(0)
        net = Sdpc(image_size=side, iterations=iterations, threshold=0.0)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.rand(1, 3, side, side) * 2 - 1)
        found.append(counter.get_total_flops() // 2)
    assert found[1] - found[0] == plain - 2_097_152 * (side // 32) ** 2


def test_any_number_of_layers() -> None:
    for many in (1, 3):
        sizes = {
            "atoms": (4, 5, 6),
            "kernels": (4, 3, 3),
            "strides": (2, 1, 1),
            "paddings": (1, 1, 1),
            "penalties": (0.1,) * 3,
        }
        net = Sdpc(image_size=16, **{key: value[:many] for key, value in sizes.items()})  # type: ignore[arg-type]
        found = net.infer(draw(2, 3, 16, 16).float())
        assert len(found.codes) == many and all(bool(code.any()) for code in found.codes)
        assert net.projected(many - 1).shape[:2] == (3 + many, 3) and net.down(found.codes[-1], many - 1).shape[1] == 3


def test_a_small_step_lowers_both_losses_and_atoms_keep_their_norm() -> None:
    torch.manual_seed(0)
    net, x = Sdpc(), draw(4, 3, 32, 32).float()
    found = net.infer(x)
    before = net.losses(x, found)
    before[0].backward(inputs=list(net.weights))
    assert all(scale.grad is None for scale in net.scales)  # neither loss moves anything else
    before[1].backward(inputs=list(net.scales))
    moved = torch.autograd.grad(net.losses(x, found)[1], list(net.weights), allow_unused=True)
    assert moved == (None, None)
    with torch.no_grad():
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter.sub_(1e-4 * parameter.grad)
    after = [loss.detach() for loss in net.losses(x, found)]
    assert all(float(b) < float(a.detach()) for a, b in zip(before, after, strict=True))
    net.constrain()
    for weight in net.weights:
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(len(weight)), atol=1e-6, rtol=0)


def test_projection_to_pixels_is_the_synthesis_of_one_unit_code() -> None:
    torch.manual_seed(0)
    net = Sdpc(image_size=64, atoms=(6, 4), scale=2.0)
    code = torch.zeros(1, 4, 8, 8)
    code[0, 2, 3, 3] = 1
    image, atom = net.down(code, 1), net.projected(1)[2]
    assert tuple(atom.shape) == (3, 20, 20)
    torch.testing.assert_close(image.abs().sum(), atom.abs().sum())
    torch.testing.assert_close(image.abs().max(), atom.abs().max())


# -- preparation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "peak"), [(2.0, 0.5 / 2**0.5), (4.0, 0.5 / 4**0.25)])
def test_the_filter_blocks_the_mean_and_is_highest_where_the_formula_is(n: float, peak: float) -> None:
    gain = whitening_filter(512, 0.5, n)
    assert float(gain[0, 0]) == 0
    assert int(gain[0].argmax()) / 512 == pytest.approx(peak, abs=2 / 512)
    torch.testing.assert_close(gain[:257, 0], gain[0])  # the same along both axes
    assert float(whitening_filter(32, 0.5, 2, invertible=True)[0, 0]) == pytest.approx(1 / 32, rel=0.01)


@pytest.mark.parametrize("whitening", ["none", "blocked", "invertible"])
def test_preparation_can_be_undone(whitening: str) -> None:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = Preparation(16, whitening=whitening)
    made.fit(images)
    prepared = made(images)
    assert float(prepared.std()) == pytest.approx(1, abs=0.05) and abs(float(prepared.mean())) < 1e-5
    torch.testing.assert_close(made.undo(prepared, images), images, atol=1e-4, rtol=0)
    if whitening == "invertible":
        torch.testing.assert_close(made.undo(prepared), images, atol=1e-4, rtol=0)


def test_local_contrast_is_blind_to_brightness_and_contrast_of_the_whole() -> None:
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(local_contrast(3 * images + 1, 9), local_contrast(images, 9), atol=1e-4, rtol=1e-4)
    assert float(local_contrast(images, 9).square().mean()) == pytest.approx(1, rel=0.3)
    assert float(border(21)[10, 10]) == 1 and float(border(21)[0, 0]) == 0
