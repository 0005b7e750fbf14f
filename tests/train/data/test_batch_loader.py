"""Batches: pure functions of seed, epoch and step; shared among ranks; augmented as a slow reference says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ganhpc.core.errors import UserError
from ganhpc.datasets.types import DataRequest
from ganhpc.train.data import augment
from ganhpc.train.data.batch_loader import BatchLoader, fits
from ganhpc.train.data.synthetic import load

N = 60
IMAGES = torch.randint(0, 256, (N, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N)


def loader(**options) -> BatchLoader:
    return BatchLoader(IMAGES, LABELS, **{"batch_size": 12, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), **options})


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    made = loader()
    orders = [torch.cat([made.batch(epoch, s)[1] for s in range(made.steps_per_epoch)]).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(0, 50), st.integers(0, 4))
def test_a_batch_depends_on_nothing_but_seed_epoch_and_step(seed: int, epoch: int, step: int) -> None:
    options = {"seed": seed, "flip": "random", "crop": 2, "cutout": 3}
    fresh, used = loader(**options), loader(**options)
    for other in (epoch + 1, 0):
        used.batch(other, 0)
    torch.rand(7)
    (a, y), (b, z) = fresh.batch(epoch, step), used.batch(epoch, step)
    assert torch.equal(a, b) and torch.equal(y, z)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_the_batch_that_one_process_sees(world: int) -> None:
    options = {"flip": "alternate", "crop": 1, "seed": 5}
    whole = loader(**options).batch(3, 2)
    parts = [loader(**options, rank=rank, world_size=world).batch(3, 2) for rank in range(world)]
    assert torch.equal(torch.cat([p[0] for p in parts]), whole[0])
    assert torch.equal(torch.cat([p[1] for p in parts]), whole[1])
    with pytest.raises(UserError, match="--batch-size 12"):
        loader(world_size=5)


@pytest.mark.parametrize("world", [1, 2, 7])
def test_evaluation_sees_every_image_exactly_once(world: int) -> None:
    seen = [
        y
        for rank in range(world)
        for _, y in loader(batch_size=14, rank=rank, world_size=world, crop=2).evaluation_batches()
    ]
    assert torch.equal(torch.cat(seen), LABELS)
    ((images, _),) = loader(batch_size=N, crop=2).evaluation_batches()
    assert torch.allclose(images, reference(IMAGES), atol=1e-5)


def reference(images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor((0.5, 0.4, 0.3)).view(3, 1, 1), torch.tensor((0.2, 0.3, 0.4)).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def test_shift_and_mirror_are_those_of_a_slow_reference() -> None:
    made = loader(flip="random", crop=3, seed=2)
    draws = made._of_epoch(1)
    images, labels = made.batch(1, 0)
    padded = F.pad(IMAGES.float(), [3] * 4, mode="reflect").to(torch.uint8)
    for k, label in enumerate(labels.tolist()):
        row, column = int(draws.rows[k]), int(draws.columns[k])
        cut = padded[label, :, row : row + 8, column : column + 8]
        expected = cut.flip(2) if draws.mirror[k] else cut
        assert torch.allclose(images[k], reference(expected), atol=1e-5)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert len(set(draws.rows.tolist())) == 7, "all shifts from -3 to 3 are drawn"


def test_alternate_mirrors_each_image_every_other_epoch() -> None:
    made = loader(flip="alternate")

    def mirrored(epoch: int) -> dict[int, bool]:
        draws = made._of_epoch(epoch)
        return dict(zip(draws.order.tolist(), draws.mirror.tolist(), strict=True))

    first, second, third = mirrored(0), mirrored(1), mirrored(2)
    assert all(first[k] != second[k] and first[k] == third[k] for k in range(N))
    assert 10 < sum(first.values()) < 50


def test_cutout_blanks_one_square() -> None:
    ones = torch.ones(2, 3, 8, 8)
    cut = augment.cutout(ones, torch.tensor([4, 0]), torch.tensor([4, 7]), 3)
    assert (cut[0] == 0).sum() == 3 * 9 and (cut[0, :, 3:6, 3:6] == 0).all()
    assert (cut[1] == 0).sum() == 3 * 4, "cut off at the corner"
    assert (ones == 1).all()


def test_the_last_smaller_batch_is_kept_on_request_and_labels_may_be_missing() -> None:
    made = BatchLoader(IMAGES, None, batch_size=25, drop_last=False)
    assert made.steps_per_epoch == 3 and len(made.batch(0, 2)[0]) == 10 and made.batch(0, 0)[1] is None
    assert loader(batch_size=25).steps_per_epoch == 2


def test_a_shift_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="--crop 8"):
        loader(crop=8)


def test_made_data_are_the_same_everywhere_and_balanced() -> None:
    data = load(DataRequest("synthetic"))
    assert data.images.shape == (2000, 3, 32, 32) and data.test_images.shape == (500, 3, 32, 32)
    assert data.images.dtype == torch.uint8
    assert torch.bincount(data.labels).tolist() == [200] * 10 and torch.bincount(data.test_labels).tolist() == [50] * 10
    assert torch.equal(load(DataRequest("synthetic", seed=7)).images, data.images)
    assert int(data.images.long().sum()) == pytest.approx(785_000_000, rel=0.01)
    with pytest.raises(UserError, match="takes 10 to"):
        load(DataRequest("synthetic", train_images=9))


@pytest.mark.parametrize(
    "options", [{}, {"flip": "random", "crop": 2, "cutout": 3}, {"flip": "alternate", "drop_last": False}]
)
def test_images_that_do_not_fit_are_streamed_and_make_the_same_batches(
    monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    resident = loader(**options)
    monkeypatch.setattr("ganhpc.train.data.batch_loader.fits", lambda images, device: False)  # noqa: ARG005
    streamed = loader(**options)
    assert (resident.resident, streamed.resident) == (True, False)
    for epoch in (0, 1):
        for step in range(resident.steps_per_epoch):
            for ours, theirs in zip(streamed.batch(epoch, step), resident.batch(epoch, step), strict=True):
                assert torch.equal(ours, theirs)
    for ours, theirs in zip(streamed.evaluation_batches(), resident.evaluation_batches(), strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_what_fits_is_asked_of_the_machine() -> None:
    images = torch.zeros(1, dtype=torch.uint8).expand(10**12)  # a terabyte that is not there
    assert fits(IMAGES, torch.device("cpu")) and not fits(images, torch.device("cpu"))
