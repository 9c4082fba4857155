"""The SeqAE network: size, gradients, padding, cached decoding, overfitting."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from subobject.embeddings.positions import analyse, cosine_basis, opponent_waves, position_features  # noqa: E402
from subobject.embeddings.seqae import SeqAE, SeqAEConfig  # noqa: E402

SMALL = {
    "context": 32,
    "width": 20,
    "hidden": 40,
    "heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "queries": 4,
    "vector": 16,
}
PARALLEL = SMALL | {"decoder": "parallel", "cosines": 4, "cosine_steps": 3}
PUBLISHED = SMALL | {"decoder": "autoregressive", "cosines": 0, "learned_positions": True}


@pytest.fixture(params=[PARALLEL, PARALLEL | {"cosines": 0}, PUBLISHED], ids=["parallel", "plain", "published"])
def model(request) -> SeqAE:
    torch.manual_seed(0)
    return SeqAE(SeqAEConfig(**request.param)).eval()


def batch(sizes: list[tuple[int, int]], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.tensor(sizes)
    pixels = torch.rand(len(sizes), int(tensor.prod(1).max()), 4, generator=generator)
    pixels[..., 3] = (pixels[..., 3] < 0.7).float()
    pixels[:, 0, 3] = 1
    pixels[..., :3] *= pixels[..., 3:]
    return pixels, tensor


def test_the_published_configuration_has_327_million_parameters():
    with torch.device("meta"):
        model = SeqAE(SeqAEConfig.published())
    count = sum(parameter.numel() for parameter in model.parameters())
    assert abs(count / 327e6 - 1) < 0.005


def test_the_default_is_small():
    with torch.device("meta"):
        model = SeqAE(SeqAEConfig())
    assert 2.7e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.9e6


def test_every_parameter_gets_a_gradient(model):
    model.train()
    model(*batch([(4, 8), (5, 3)])).loss.backward()
    silent = [name for name, one in model.named_parameters() if one.grad is None or float(one.grad.abs().max()) < 1e-9]
    assert silent == []


def test_what_lies_behind_the_end_does_not_matter(model):
    pixels, sizes = batch([(4, 8), (5, 3)])
    with torch.no_grad():
        vectors = model.encode(pixels, sizes)
        pixels[1, 15:] = 7
        assert torch.equal(vectors, model.encode(pixels, sizes))
        alone = model.encode(pixels[1:, :15], sizes[1:])
        decoded = model.decode(vectors, sizes)
        decoded_alone = model.decode(vectors[1:], sizes[1:])
    assert torch.allclose(vectors[1:], alone, atol=1e-5)
    assert torch.allclose(decoded[1, :15], decoded_alone[0], atol=1e-5)


def test_decoded_values_are_colours_and_probabilities(model):
    pixels, sizes = batch([(4, 8), (1, 1), (1, 32)])
    with torch.no_grad():
        decoded = model.decode(100 * model.encode(pixels, sizes), sizes)
    assert decoded.shape == (3, 32, 4)
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


def test_cached_generation_equals_full_recomputation():
    torch.manual_seed(1)
    model = SeqAE(SeqAEConfig(**PUBLISHED)).eval()
    pixels, sizes = batch([(3, 4), (5, 2)])
    with torch.no_grad():
        vectors = model.encode(pixels, sizes)
        cached = model.decode(vectors, sizes)
        inputs = torch.zeros(2, 12, 4)
        for step in range(12):
            inputs[:, step] = model.decode_teacher_forced(vectors, sizes, inputs)[:, step]
    assert torch.allclose(cached, model.finish(inputs), atol=1e-5)


def test_teacher_forced_prediction_does_not_see_the_pixel_it_predicts():
    model = SeqAE(SeqAEConfig(**PUBLISHED)).eval()
    pixels, sizes = batch([(3, 4)])
    with torch.no_grad():
        vectors = model.encode(pixels, sizes)
        first = model.decode_teacher_forced(vectors, sizes, pixels)
        pixels[:, 6] += 1
        second = model.decode_teacher_forced(vectors, sizes, pixels)
    assert torch.equal(first[:, :7], second[:, :7])
    assert not torch.allclose(first[:, 7:], second[:, 7:])


@pytest.mark.parametrize("option", ["teacher_dropout", "teacher_noise"])
def test_hidden_and_corrupted_teacher_inputs_change_the_loss_in_training_only(option):
    torch.manual_seed(0)
    model = SeqAE(SeqAEConfig(**(PUBLISHED | {option: 0.5})))
    with torch.no_grad():
        model.train()
        assert model(*batch([(4, 8)])).loss != model(*batch([(4, 8)])).loss
        model.eval()
        assert model(*batch([(4, 8)])).loss == model(*batch([(4, 8)])).loss


def test_teacher_forcing_with_all_inputs_hidden_reads_the_vector_alone():
    model = SeqAE(SeqAEConfig(**(PUBLISHED | {"teacher_dropout": 1.0}))).train()
    pixels, sizes = batch([(3, 4)])
    with torch.no_grad():
        vectors = model.encode(pixels, sizes)
        assert torch.equal(*(model.decode_teacher_forced(vectors, sizes, inputs) for inputs in (pixels, 1 - pixels)))


def test_truncated_vectors_decode_as_if_the_rest_were_zero(model):
    pixels, sizes = batch([(4, 8), (5, 3)])
    with torch.no_grad():
        vectors = model.encode(pixels, sizes)
        zeroed = vectors * (torch.arange(16) < 4)
        assert torch.allclose(model.decode(vectors[:, :4], sizes), model.decode(zeroed, sizes), atol=1e-6)


@pytest.mark.parametrize("options", [PARALLEL, PUBLISHED], ids=["parallel", "published"])
def test_nested_dropout_keeps_a_prefix_of_each_vector(options):
    torch.manual_seed(0)
    model = SeqAE(SeqAEConfig(**(options | {"prefixes": [2, 4, 8]}))).train()
    kept = model._nested_dropout(torch.ones(400, 16)).sum(dim=1).int()
    assert {2, 4, 8, 16} == set(kept.tolist())
    assert all(60 < int((kept == size).sum()) < 140 for size in (2, 4, 8, 16))
    pixels, sizes = batch([(4, 8), (5, 3)] * 8)
    model(pixels, sizes).loss.backward()
    silent = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()]
    assert silent == []
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(pixels, sizes).vectors, model.encode(pixels, sizes))


def test_the_cosine_start_puts_low_waves_first():
    """Even before training, more values of a vector decode better, and few of them hold the mean colour."""
    torch.manual_seed(0)
    model = SeqAE(SeqAEConfig(**(PARALLEL | {"vector": 64, "width": 64, "prefixes": [4, 16]}))).eval()
    row, column = torch.meshgrid(torch.arange(4), torch.arange(8), indexing="ij")
    light = 0.1 + row / 8 + column / 16
    ramp = torch.stack([light, 0.8 * light, 0.6 * light, torch.ones(4, 8)], dim=2).flatten(0, 1)[None]
    sizes = torch.tensor([[4, 8]])
    with torch.no_grad():
        vectors = model.encode(ramp, sizes)
        errors = [float((model.decode(vectors[:, :k], sizes) - ramp)[..., :3].square().mean()) for k in (4, 16, 64)]
    assert errors[0] > errors[1] > 0.5 * errors[2]
    assert errors[1] < 0.01


def test_the_cosine_basis_is_orthonormal():
    basis = cosine_basis(torch.tensor([[8, 8], [4, 16]]), torch.arange(64), 4)
    assert torch.allclose(basis.transpose(1, 2) @ basis / 64, torch.eye(16).expand(2, -1, -1), atol=1e-5)
    assert torch.count_nonzero(cosine_basis(torch.tensor([[2, 3]]), torch.arange(6), 4).abs().sum(1)) == 6


def test_cosine_coefficients_hold_a_small_crop_exactly():
    pixels, sizes = batch([(3, 4)])
    residual, coefficients = analyse(pixels, sizes, 4)
    mask = pixels[..., 3:]
    rebuilt = cosine_basis(sizes, torch.arange(12), 4) @ coefficients
    mean = coefficients[:, :1, :3]
    assert torch.allclose(rebuilt[..., 3:], mask, atol=1e-5)
    assert torch.allclose((residual[..., :3] + mean) * mask, pixels[..., :3] * mask, atol=1e-6)
    # The rebuilt residual differs from the residual by its own mean over the crop, which the mean colour replaces.
    offset = residual[..., :3].mean(dim=1, keepdim=True)
    assert torch.allclose(rebuilt[..., :3] - mean + offset, residual[..., :3], atol=1e-5)


def test_steps_of_the_fit_approach_least_squares_inside_the_mask():
    """Against a dense solver, for crops of several sizes in one batch, with soft masks."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.tensor([[8, 9], [10, 6]])
    pixels = torch.rand(2, 72, 4, generator=generator) * (torch.arange(72) < sizes.prod(1)[:, None])[..., None]
    pixels[..., 3] = (pixels[..., 3] + 0.2 * (pixels[..., 3] > 0)).clamp(max=1)
    basis = cosine_basis(sizes, torch.arange(72), 3).double()
    weight = pixels[..., 3:].double()
    exact = torch.linalg.solve(
        basis.transpose(1, 2) @ (weight * basis), basis.transpose(1, 2) @ (weight * pixels[..., :3].double())
    )
    distances = []
    for steps in (1, 4, 16):
        coefficients = analyse(pixels, sizes, 3, steps)[1]
        assert torch.allclose(coefficients[..., 3], analyse(pixels, sizes, 3)[1][..., 3])
        distances.append(float((coefficients[..., :3] - exact).abs().max()))
    assert distances[0] > 10 * distances[1] > 100 * distances[2]


def test_opponent_waves_are_orthonormal_and_begin_with_the_mean_brightness():
    waves = opponent_waves(4)
    assert torch.allclose(waves @ waves.T, torch.eye(64), atol=1e-5)
    assert torch.allclose(waves[0, :3], torch.full((3,), 3**-0.5))
    assert torch.count_nonzero(waves[0]) == 3
    wave, channel = waves[:32].abs().argmax(dim=1) // 4, waves[:32, 3::4].abs().sum(dim=1) > 0
    brightness = (waves[:32].unflatten(1, (16, 4))[..., :3].sum(dim=2).abs().sum(dim=1) > 1) & ~channel
    # Of 32 of the 64, brightness takes all 16 waves but hue only some.
    assert sorted(wave[brightness].tolist()) == list(range(16))


def test_position_features_tell_cells_and_sizes_apart():
    features = position_features(torch.tensor([[3, 4], [4, 3]]), torch.arange(12)).flatten(0, 1)
    distance = torch.cdist(features, features) + 9 * torch.eye(24)
    assert float(distance.min()) > 0.01


def test_save_and_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = SeqAE.from_pretrained(tmp_path).eval()
    pixels, sizes = batch([(4, 8), (2, 2)])
    with torch.no_grad():
        assert torch.equal(model(pixels, sizes).decoded, again(pixels, sizes).decoded)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 21}, "no multiple"),
        ({"decoder": "diffusion"}, "unknown decoder"),
        ({"cosines": 3}, "cosines 3 needs"),
        ({"cosine_steps": 0}, "cosine_steps is 0"),
        ({"prefixes": [8, 16]}, "prefixes are .* below the size of the vector"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SeqAEConfig(**(PARALLEL | options))


def learn_by_heart(
    model: SeqAE, pixels: torch.Tensor, sizes: torch.Tensor, *, steps: int, rate: float
) -> tuple[torch.Tensor, float]:
    """Train on one batch; returns what its vectors decode to, and the PSNR in dB inside the segments."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.05)
    for _ in range(steps):
        loss = model(pixels, sizes).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        decoded = model.decode(model.encode(pixels, sizes), sizes)
    inside = (pixels[..., 3] > 0) & (torch.arange(pixels.shape[1]) < sizes.prod(1, keepdim=True))
    return decoded, -10 * math.log10(float((decoded - pixels)[..., :3][inside].square().mean()))


@pytest.mark.parametrize("published", [False, pytest.param(True, marks=pytest.mark.long)])
def test_eight_segments_can_be_learned_by_heart_from_their_vectors_alone(published):
    torch.manual_seed(0)
    options = PUBLISHED | {"encoder_layers": 1, "decoder_layers": 1} if published else PARALLEL
    model = SeqAE(SeqAEConfig(**(options | {"width": 64, "hidden": 128, "vector": 64})))
    pixels, sizes = batch([(4, 4), (2, 8), (8, 2), (4, 4), (3, 5), (5, 3), (16, 1), (1, 16)])
    decoded, psnr = learn_by_heart(model, pixels, sizes, steps=3000 if published else 700, rate=3e-3)
    assert psnr > 35
    valid = torch.arange(16) < sizes.prod(1, keepdim=True)
    assert np.array_equal(decoded[..., 3][valid] > 0.5, pixels[..., 3][valid] > 0.5)


@pytest.mark.long
def test_sixty_four_segments_are_learned_to_over_40_db_from_vectors_alone():
    torch.manual_seed(0)
    config = SeqAEConfig(**(SMALL | {"decoder": "parallel", "cosines": 4, "width": 96, "hidden": 192, "heads": 4, "vector": 128}))
    _, psnr = learn_by_heart(SeqAE(config), *batch([(4, 4), (2, 8), (8, 2), (3, 5)] * 16), steps=3000, rate=2e-3)
    assert psnr > 40
