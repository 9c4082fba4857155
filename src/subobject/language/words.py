"""A word-level tokenizer for small language models that are trained from scratch on few words, such as captions of CLEVR."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<eos>"}
_PIECES = r" ?[^\s\p{P}]+| ?\p{P}|\s+"


def word_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """Build a tokenizer whose vocabulary is the words and punctuation marks of some texts, sorted.

    A word keeps the space before it, so that decoding gives back exactly what was encoded.

    Args:
        texts: What the vocabulary is taken from; other words become ``<unk>``.
        max_length: Largest number of tokens of a sequence (``model_max_length``).

    Example:
        >>> tokenizer = word_tokenizer(["2 objects: a red cube."], max_length=64)
        >>> tokenizer.decode(tokenizer("2 red objects.")["input_ids"])
        '2 red objects.'
    """
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    words = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, clean_up_tokenization_spaces=False, **SPECIAL
    )
