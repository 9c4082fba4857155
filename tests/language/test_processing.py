"""``SubobjectProcessor``: texts, images and stored tokens to model inputs, and its saved form."""

import json
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from subobject.language.origin import Origin  # noqa: E402
from subobject.language.processing import SubobjectProcessor, tokenizer_config  # noqa: E402
from subobject.language.splice import IGNORED  # noqa: E402
from subobject.language.words import word_tokenizer  # noqa: E402
from subobject.structures import Tokens  # noqa: E402
from subobject.tokens.store import TokenRow  # noqa: E402
from subobject.tokens.tokenizer import SubobjectTokenizer, TokenizerConfig  # noqa: E402
from tests.language.conftest import TEXTS, make_tokens  # noqa: E402

LIGHT = TokenizerConfig(segmenter="gradient", embedder="mean-colour", max_tokens=3)
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}<eos>{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def read(processor, ids):
    return processor.tokenizer.decode(ids)


def test_several_images_in_several_texts_go_to_their_places(processor):
    tokens = [make_tokens(count, seed) for seed, count in enumerate((2, 1, 3))]
    batch = processor(["a<image> and<image>", "<image> small"], tokens=tokens, padding_side="right")
    assert read(processor, batch["input_ids"][0]) == "a<SOI><image><image><EOI> and<SOI><image><EOI>"
    assert read(processor, batch["input_ids"][1]) == "<SOI><image><image><image><EOI> small<pad><pad><pad>"
    assert batch["attention_mask"].tolist() == [[1] * 9, [1] * 6 + [0] * 3]
    assert batch["vectors"].shape == (2, 3, 6)
    assert np.array_equal(batch["vectors"][0], np.concatenate([tokens[0].vectors, tokens[1].vectors]))
    assert np.array_equal(batch["boxes"][1], tokens[2].boxes)
    assert "labels" not in batch


def test_a_batch_of_tokens_a_list_and_store_rows_are_the_same(processor):
    tokens = [make_tokens(2, 0), make_tokens(3, 1)]
    together = Tokens.from_segmentations([one.vectors for one in tokens], [one.segmentation for one in tokens])
    rows = [TokenRow.from_tokens("a", tokens[0]), tokens[1]]
    for form in (tokens, together, rows):
        batch = processor(["<image>", "<image>"], tokens=form)
        assert np.array_equal(batch["vectors"][1], tokens[1].vectors)
        assert not batch["vectors"][0, 2].any()


def test_labels_are_the_targets_and_an_end(processor):
    batch = processor(["a<image> and", "<image>"], tokens=[make_tokens(2), make_tokens(1)], targets=[" a red cube", " small"])
    labels = [row[row != IGNORED] for row in batch["labels"]]
    assert [read(processor, row) for row in labels] == [" a red cube<eos>", " small<eos>"]
    assert (batch["labels"][batch["labels"] != IGNORED] == batch["input_ids"][batch["labels"] != IGNORED]).all()
    whole = processor("2 a<image> and", tokens=make_tokens(2), targets=" small", loss_on="text")["labels"][0]
    assert read(processor, whole[whole != IGNORED]) == " a and small<eos>"


def test_text_without_images_needs_none(processor):
    batch = processor("a red cube")
    assert set(batch) == {"input_ids", "position_ids", "attention_mask"}


def test_generation_pads_on_the_left_and_training_on_the_right(processor):
    tokens = [make_tokens(3), make_tokens(1)]
    assert processor(["<image>", "<image>"], tokens=tokens)["attention_mask"][1].tolist() == [0, 0, 1, 1, 1]
    targets = processor(["<image>", "<image>"], tokens=tokens, targets=[" a", " a"])
    assert targets["attention_mask"][1].tolist() == [1] * 5 + [0] * 2


def test_images_are_cut_within_the_budget(blocks):
    processor = SubobjectProcessor(word_tokenizer(TEXTS, 64), LIGHT)
    batch = processor(["<image>", "a<image>"], [blocks, blocks], max_tokens=2)
    expected = SubobjectTokenizer.from_pretrained(None, segmenter="gradient", embedder="mean-colour")(blocks, max_tokens=2)
    assert np.array_equal(batch["vectors"][0], expected.vectors)
    assert np.array_equal(batch["boxes"][1], expected.boxes)
    assert processor("<image>", blocks)["vectors"].shape[1] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": ["<image>"]}, "1 <image> places, but 0 images"),
        ({"text": [], "targets": []}, "at least one text"),
        ({"text": ["a", "a"], "targets": ["a"]}, "1 targets for 2 texts"),
        ({"text": "<image>", "images": ["x.png"], "tokens": []}, "either images or tokens"),
        ({"text": "<image>", "images": ["x.png"]}, "cannot cut images"),
        ({"text": "<image><SOI>", "tokens": make_tokens(1)}, "write only <image>"),
    ],
)
def test_what_does_not_fit_is_named(processor, arguments, message):
    with pytest.raises(ValueError, match=message):
        processor(**arguments)


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = word_tokenizer(TEXTS, 64)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no eos_token"):
        SubobjectProcessor(tokenizer)


def test_chats_become_text_and_split_into_text_and_target(processor):
    processor.tokenizer.chat_template = TEMPLATE
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " small"}]},
        {"role": "assistant", "content": "a red cube"},
    ]
    assert processor.apply_chat_template(messages[:1], add_generation_prompt=True) == "user: <image> small assistant: "
    assert processor.split_chat(messages) == ("user: <image> small assistant: ", "a red cube")
    text, target = processor.split_chat(messages)
    assert processor(text, tokens=make_tokens(2), targets=target)["labels"][0, -1] == processor.tokenizer.eos_token_id


def test_a_tokenizer_without_a_chat_template_says_so(processor):
    with pytest.raises(ValueError, match="no chat template"):
        processor.apply_chat_template([{"role": "user", "content": "a"}])


def test_saved_and_loaded_it_does_the_same(tmp_path, blocks):
    processor = SubobjectProcessor(word_tokenizer(TEXTS, 64), LIGHT, prompt="a<image>")
    processor.save_pretrained(tmp_path)
    again = SubobjectProcessor.from_pretrained(tmp_path)
    assert again.prompt == "a<image>"
    assert again.places == processor.places
    assert len(again.tokenizer) == len(processor.tokenizer)
    ours, theirs = processor("<image> small", blocks), again("<image> small", blocks)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert json.loads((tmp_path / "image_tokenizer" / "config.json").read_text())["segmenter"] == "gradient"


def test_weights_of_a_folder_are_copied_and_those_that_ship_are_not(tmp_path):
    shipped = SubobjectProcessor(word_tokenizer(TEXTS, 64), TokenizerConfig(boundary_weights="boundarynet.bsds500"))
    shipped.save_pretrained(tmp_path / "a")
    assert [file.name for file in (tmp_path / "a" / "image_tokenizer").iterdir()] == ["config.json"]
    SubobjectTokenizer.from_pretrained(None, embedder="mean-colour").save_pretrained(tmp_path / "own")
    config = TokenizerConfig(boundary_weights=str(tmp_path / "own" / "boundaries"), embedder="mean-colour")
    SubobjectProcessor(word_tokenizer(TEXTS, 64), config).save_pretrained(tmp_path / "b")
    (tmp_path / "own").rename(tmp_path / "gone")
    again = SubobjectProcessor.from_pretrained(tmp_path / "b")
    assert again.image_tokenizer.segment(np.zeros((9, 9, 3), np.uint8)).num_segments >= 1
    again.save_pretrained(tmp_path / "c")
    assert (tmp_path / "c" / "image_tokenizer" / "boundaries" / "config.json").is_file()


@pytest.mark.parametrize("copied", [True, False])
def test_tokens_of_other_weights_get_one_warning(tmp_path, caplog, copied):
    weights = "patch.bsds500"
    if copied:
        SubobjectTokenizer.from_pretrained(None, segmenter="tiles", embedder="patch").save_pretrained(tmp_path / "own")
        weights = str(tmp_path / "own" / "embedder")
    config = TokenizerConfig(segmenter="tiles", embedder="patch", embedder_weights=weights)
    settings = SubobjectTokenizer.from_pretrained(None, **asdict(config)).settings()
    pixels = np.zeros((9, 9, 3), np.uint8)
    for name, trained_on in (
        ("same", Origin.of_tokens("drawings", settings)),
        ("other", Origin("drawings", embedder_sha256="0" * 64)),
    ):
        caplog.clear()
        SubobjectProcessor(word_tokenizer(TEXTS, 64), config, trained_on=trained_on).save_pretrained(tmp_path / name)
        caplog.clear()
        again = SubobjectProcessor.from_pretrained(tmp_path / name)
        assert again.trained_on == trained_on
        again.image_tokenizer.segment(pixels)
        again.image_tokenizer.segment(pixels)
        expected = ["the tokens come from another embedder than"] * (name == "other")
        assert [record.getMessage().partition(" those")[0] for record in caplog.records] == expected
    caplog.clear()
    again.check_tokens({"segmenter": "made elsewhere"})
    assert not caplog.records


def test_a_folder_without_a_processor_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no readable processor_config"):
        SubobjectProcessor.from_pretrained(tmp_path)


def test_settings_of_a_store_become_a_tokenizer(blocks):
    tokenizer = SubobjectTokenizer.from_pretrained(None, segmenter="gradient", embedder="mean-colour", order="size")
    config = tokenizer_config(tokenizer.settings(max_tokens=7))
    assert (config.segmenter, config.embedder, config.order, config.max_tokens) == ("gradient", "mean-colour", "size", 7)
    # Tokens that were cut by strength alone: what is cut later is so too.
    again = SubobjectTokenizer.from_pretrained(None, **asdict(tokenizer_config(tokenizer.settings(threshold=0.5))))
    assert again.settings() == tokenizer.settings(max_tokens=128, threshold=0.5)
    assert again(blocks).num_tokens == tokenizer(blocks, threshold=0.5).num_tokens
