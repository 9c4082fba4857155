"""``SubobjectForCausalLM`` around tiny random models of many families."""

import copy
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402
from transformers import LlamaForCausalLM  # noqa: E402

from subobject.language.configuration import SubobjectConfig  # noqa: E402
from subobject.language.modeling import SubobjectForCausalLM  # noqa: E402
from subobject.language.splice import IGNORED, bins  # noqa: E402
from tests.language.conftest import FAMILIES, family_config, make_tokens  # noqa: E402

PROMPTS = ["<image>", "a<image> and<image>", "2 objects<image>"]
ANSWERS = [" a red cube", " small", " a blue sphere and a small cube"]
ATTENTION = ["causal", "full"]


@pytest.fixture
def tokens():
    return [make_tokens(count, seed) for seed, count in enumerate((5, 3, 7, 1))]


def rows_of(logits, batch):
    """Split the logits of a batch by sequence."""
    if "attention_mask" in batch:
        return [row[mask.bool()] for row, mask in zip(logits, batch["attention_mask"], strict=True)]
    found = []
    for row, positions in zip(logits, batch["position_ids"], strict=True):
        starts = [*torch.nonzero(positions == 0).flatten().tolist(), len(positions)]
        found += [row[a:b] for a, b in pairwise(starts)]
    return found


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_and_padded_on_either_side_are_equal(family, attention, make_model, processor, tokens):
    model = make_model(family, image_attention=attention)
    padded, left, packed, rows = (
        processor(PROMPTS, tokens=tokens, targets=ANSWERS, **options)
        for options in ({}, {"padding_side": "left"}, {"packed": True}, {"packed": True, "row_length": 30})
    )
    assert packed["input_ids"].shape[0] == 1
    assert "attention_mask" not in packed
    wanted = rows_of(model(**padded).logits, padded)
    assert sum(map(len, wanted)) == packed["input_ids"].shape[1]  # no padding at all
    order = [index for row in bins([len(one) for one in wanted], 30) for index in row]
    assert 1 < len(rows["input_ids"]) < len(PROMPTS)
    found = [one for one in rows_of(model(**rows).logits, rows) if len(one) in [len(one) for one in wanted]]
    for ours, theirs in (
        (wanted, rows_of(model(**left).logits, left)),
        (wanted, rows_of(model(**packed).logits, packed)),
        ([wanted[index] for index in order], found),
    ):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-4)
    losses = [model(**batch).loss.item() for batch in (padded, left, packed, rows)]
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_saves_loads_and_generates(family, make_model, processor, tokens, tmp_path):
    model = make_model(family).train()
    batch = processor(PROMPTS, tokens=tokens, targets=ANSWERS)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        loss = model(**batch).loss
        loss.backward()
        missing = [name for name, one in model.named_parameters() if one.grad is None]
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert missing == []
    assert losses[-1] < losses[0]

    model.eval().save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = SubobjectForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again.language_model) is type(model.language_model)
    assert torch.equal(again(**batch).logits, model(**batch).logits)

    inputs = processor(PROMPTS, tokens=tokens)
    together = again.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)[:, -5:]
    firsts = [0, 1, 3]
    for prompt, first, row in zip(PROMPTS, firsts, together, strict=True):
        alone = processor(prompt, tokens=tokens[first : first + prompt.count("<image>")])
        assert again.generate(**alone, max_new_tokens=5, min_new_tokens=5, do_sample=False)[0, -5:].tolist() == row.tolist()


@pytest.mark.parametrize("attention", ATTENTION)
def test_generation_with_a_cache_equals_one_without(attention, make_model, processor, tokens):
    model = make_model(image_attention=attention)
    inputs = processor(PROMPTS[1], tokens=tokens[:2])
    ids = inputs["input_ids"]
    for _ in range(6):
        logits = model(ids, inputs["vectors"], inputs["boxes"]).logits[:, -1]
        logits[:, [*model.config.places, model.generation_config.eos_token_id]] = -torch.inf
        ids = torch.cat([ids, logits.argmax(dim=1, keepdim=True)], dim=1)
    generated = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert generated.tolist() == ids.tolist()
    beams = model.generate(**inputs, max_new_tokens=6, num_beams=3, num_return_sequences=2, do_sample=False)
    assert beams.shape[0] == 2


def test_added_tokens_are_never_generated(make_model, processor, tokens):
    model = make_model()
    inputs = processor(PROMPTS, tokens=tokens)
    torch.manual_seed(0)
    answers = model.generate(**inputs, max_new_tokens=60, do_sample=True, temperature=9.0)[:, inputs["input_ids"].shape[1] :]
    assert not torch.isin(answers, torch.tensor(processor.places)).any()


@pytest.mark.parametrize("packed", [False, True])
def test_the_loss_has_exactly_no_gradient_where_the_target_is_of_an_image(packed, make_model, processor, tokens):
    model = make_model()
    batch = processor(PROMPTS, tokens=tokens, targets=ANSWERS, loss_on="text", packed=packed)
    batch["labels"] = batch["input_ids"].clone()  # Whatever labels hold, image tokens and markers do not count.
    output = model(**batch)
    output.logits.retain_grad()
    output.loss.backward()
    gradient = output.logits.grad[:, :-1].abs().sum(dim=-1)
    of_image = torch.isin(batch["input_ids"][:, 1:], torch.tensor(processor.places))
    assert (gradient[of_image] == 0).all()
    assert (gradient[~of_image] > 0).all()


def test_the_loss_is_the_mean_cross_entropy_of_the_targets(make_model, processor, tokens):
    model = make_model()
    batch = processor(PROMPTS, tokens=tokens, targets=ANSWERS)
    output = model(**batch)
    losses = []
    for logits, labels in zip(output.logits, batch["labels"], strict=True):
        for i in range(1, len(labels)):
            if labels[i] != IGNORED:
                losses.append(-F.log_softmax(logits[i - 1], dim=0)[labels[i]].item())
    assert len(losses) == sum(len(processor.tokenizer(one)["input_ids"]) + 1 for one in ANSWERS)
    assert output.loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_embeddings_are_replaced_at_places_and_markers_only(make_model, processor, tokens):
    model = make_model(projector="mlp", box_features="fourier")
    batch = processor("a<image> and<image>", tokens=tokens[:2])
    ids = batch["input_ids"][0]
    embeddings = model.embed(**{name: batch[name] for name in ("input_ids", "vectors", "boxes")})[0]
    places = processor.places
    text = ~torch.isin(ids, torch.tensor(places))
    assert torch.equal(embeddings[text], model.get_input_embeddings()(ids[text]))
    for index, marker in enumerate(places[1:]):
        assert torch.equal(embeddings[ids == marker], model.markers.weight[[index, index]])
    vectors = torch.cat([torch.from_numpy(one.vectors) for one in tokens[:2]])
    boxes = torch.cat([torch.from_numpy(one.boxes) for one in tokens[:2]])
    assert torch.allclose(embeddings[ids == places.image], model.projector(vectors, boxes), atol=1e-6)


def test_full_attention_shows_an_image_to_itself_and_to_nothing_before_it(make_model, processor, tokens):
    batch = processor("a<image> and<image>", tokens=tokens[:2])
    ids = batch["input_ids"][0]
    at = torch.nonzero(ids == processor.places.image).flatten()
    changed = dict(batch) | {"vectors": batch["vectors"].clone()}
    changed["vectors"][0, 4] += 1  # the last token of the first image
    for attention, seen_by in (("causal", at[4].item()), ("full", at[0].item())):
        model = make_model(image_attention=attention)
        differs = (model(**batch).logits - model(**changed).logits)[0].abs().amax(dim=1) > 1e-7
        assert torch.nonzero(differs).flatten().min().item() == seen_by
        assert differs[seen_by:].all()


@pytest.mark.parametrize("packed", [False, True])
def test_masks_follow_the_attention_that_a_language_model_was_made_with(packed, make_model, processor, tokens):
    batch = processor(PROMPTS, tokens=tokens, targets=ANSWERS, packed=packed)
    sdpa, eager = (make_model(image_attention="full", implementation=name) for name in ("sdpa", "eager"))
    assert eager.language_model.config._attn_implementation == "eager"
    for one, other in zip(*(rows_of(model(**batch).logits, batch) for model in (sdpa, eager)), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "normal", "text"])
def test_markers_start_as_chosen(how, make_model, processor):
    model = make_model(initialisation=how)
    table, markers = model.get_input_embeddings().weight, model.markers.weight
    if how == "mean":
        assert torch.allclose(markers, table.mean(dim=0).expand(2, -1), atol=1e-6)
    elif how == "normal":
        assert markers.std().item() == pytest.approx(table.std().item(), rel=0.4)
        assert not torch.equal(markers[0], markers[1])
    else:
        ids = processor.tokenizer("start of image")["input_ids"]
        assert torch.allclose(markers[0], table[ids].mean(dim=0), atol=1e-6)


def test_an_unknown_start_is_named(make_model):
    with pytest.raises(ValueError, match="use 'mean', 'normal' or 'text'"):
        make_model(initialisation="zeros")


def test_a_language_model_comes_from_a_folder_and_keeps_its_weights(tmp_path, processor):
    language_model = LlamaForCausalLM(family_config("llama"))
    language_model.save_pretrained(tmp_path)
    model = SubobjectForCausalLM.from_language_model(str(tmp_path), processor.tokenizer, vector_size=4)
    ids = torch.randint(3, 15, (2, 7))
    assert torch.equal(model(ids).logits, language_model(ids).logits)
    assert model.config.language_model == str(tmp_path)


def test_added_ids_grow_a_vocabulary_only_where_they_do_not_fit(processor):
    config = family_config("gpt_neox")
    config.vocab_size = len(processor.tokenizer) - 3
    before = copy.deepcopy(config)
    model = SubobjectForCausalLM.from_language_model(config, processor.tokenizer, vector_size=4)
    rows = model.get_output_embeddings().weight
    assert len(rows) == len(processor.tokenizer)
    assert torch.allclose(rows[-3:], rows[:-3].mean(dim=0), atol=1e-6)
    assert model.config.get_text_config().vocab_size == before.vocab_size + 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_attention": "both"}, "use 'causal' or 'full'"),
        ({"projector": "liner"}, "did you mean 'linear'"),
        ({"vector_noise": -0.1}, "vector_noise is -0.1"),
        ({"box_jitter": 1.0}, "box_jitter is 1.0"),
        ({"box_features": "sine"}, "Known: fourier, linear"),
    ],
)
def test_unknown_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SubobjectConfig(**options)


def test_missing_weights_tokens_and_vectors_are_named(make_model, processor, tokens, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        SubobjectForCausalLM.from_language_model(str(tmp_path), processor.tokenizer, vector_size=4)
    batch = processor("<image>", tokens=tokens[:1])
    with pytest.raises(ValueError, match="the vectors have 4 values, but this model reads 6"):
        make_model()(**dict(batch) | {"vectors": batch["vectors"][..., :4]})
    with pytest.raises(ValueError, match="5 image places, but only 2 vectors"):
        make_model()(**dict(batch) | {"vectors": batch["vectors"][:, :2], "boxes": batch["boxes"][:, :2]})


def test_a_pickled_language_model_is_refused(tmp_path, processor):
    language_model = LlamaForCausalLM(family_config("llama"))
    language_model.config.save_pretrained(tmp_path)
    torch.save(language_model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded"):
        SubobjectForCausalLM.from_language_model(str(tmp_path), processor.tokenizer, vector_size=4)
