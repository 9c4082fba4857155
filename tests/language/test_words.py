"""The word-level tokenizer."""

import pytest

pytest.importorskip("transformers")

from transformers import AutoTokenizer

from subobject.language.words import word_tokenizer

CAPTION = "Total 3 objects: a small gray metal cube, a large red rubber sphere."


def test_decoding_gives_back_exactly_what_was_encoded(tmp_path):
    tokenizer = word_tokenizer([CAPTION], max_length=32)
    ids = tokenizer(CAPTION)["input_ids"]
    assert tokenizer.decode(ids) == CAPTION
    assert len(ids) == 16  # a word or a mark each
    assert len(tokenizer) == 3 + len(set(ids))
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(CAPTION)["input_ids"] == ids
    assert again.decode([*ids, again.eos_token_id], skip_special_tokens=True) == CAPTION


def test_unknown_words_are_marked():
    tokenizer = word_tokenizer([CAPTION], max_length=32)
    assert tokenizer.decode(tokenizer("x blue cube")["input_ids"]) == "<unk><unk> cube"
