"""Accuracy of captions of CLEVR, and what reading an image costs a language model.

Definitions (the paper, arXiv 2402.14327, figure 4, gives accuracies of size, material, shape and count without any):

- A prediction is parsed strictly (``data.captions``). One that is not a caption has everything wrong.
- ``count``: share of images whose stated number is the number of objects in the scene.
- ``size``, ``colour``, ``material``, ``shape``: objects are paired from left to right, the first listed with the leftmost of the
  scene. Where the lists have unequal length, the shorter one is paired, in order, with those of the longer one that it agrees
  with in the most attributes; the others have no partner. The accuracy is the number of pairs that agree over the larger of the
  two lengths, both summed over all images: an object that is missed or made up is wrong in every attribute.
- ``object``: the same for pairs that agree in all attributes.
- ``exact``: share of captions that are right in every character.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from subobject.data.captions import Caption, CaptionError, CaptionObject, parse_caption

ATTRIBUTES = ("size", "colour", "material", "shape")


def caption_scores(predictions: Sequence[str], references: Sequence[Caption]) -> dict[str, float]:
    """Score captions; see the definitions at the top of this module.

    Args:
        predictions: Generated texts.
        references: True captions of the same images, all with colours or all without.

    Returns:
        ``images``, ``parse_rate``, ``count``, one value for each attribute that the references have, ``object`` and ``exact``.

    Raises:
        ValueError: If there is no caption, or the numbers differ.
    """
    if not references or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references: give one each, and at least one")
    colour = references[0].objects[0].colour is not None
    attributes = [name for name in ATTRIBUTES if colour or name != "colour"]
    parsed = [_parse(text, colour) for text in predictions]
    right = dict.fromkeys([*attributes, "object"], 0)
    total = 0
    for found, true in zip(parsed, references, strict=True):
        objects = () if found is None else found.objects
        total += max(len(objects), len(true.objects))
        for one, other in pair_objects(objects, true.objects):
            for name in attributes:
                right[name] += getattr(one, name) == getattr(other, name)
            right["object"] += one == other
    pairs = list(zip(parsed, references, strict=True))
    return {
        "images": len(references),
        "parse_rate": _share(found is not None for found in parsed),
        "count": _share(found is not None and found.count == len(true.objects) for found, true in pairs),
        **{name: right[name] / total for name in attributes},
        "object": right["object"] / total,
        "exact": _share(found == true for found, true in pairs),
    }


def pair_objects(predicted: Sequence[CaptionObject], true: Sequence[CaptionObject]) -> list[tuple[CaptionObject, CaptionObject]]:
    """Pair the objects of two captions in order, all of the shorter list.

    Among all such pairings the one with the most equal attributes is taken; of equal ones, the one that leaves out objects
    furthest to the right.
    """
    if len(predicted) > len(true):
        return [(one, other) for other, one in pair_objects(true, predicted)]
    short, long = predicted, true
    spare = len(long) - len(short)
    # best[i, s]: most equal attributes of short[:i] when s of the longer list have been left out.
    best = np.full((len(short) + 1, spare + 1), -1)
    best[0] = 0
    agree = np.array([[_agreement(one, other) for other in long] for one in short], dtype=int).reshape(len(short), len(long))
    for i in range(1, len(short) + 1):
        for s in range(spare + 1):
            best[i, s] = max(best[i - 1, s] + agree[i - 1, i - 1 + s], best[i, s - 1] if s else -1)
    pairs = []
    i, s = len(short), spare
    while i:
        if s and best[i, s] == best[i, s - 1]:
            s -= 1
        else:
            pairs.append((short[i - 1], long[i - 1 + s]))
            i -= 1
    return pairs[::-1]


def perplexity(losses: Iterable[float], targets: Iterable[int]) -> float:
    """Return the perplexity of captions from the summed negative log-likelihood (natural) and the number of targets of each.

    Each target counts once, whatever caption it is in.
    """
    return math.exp(sum(losses) / sum(targets))


def prefill_flops(
    *, tokens: int, image_tokens: int, weights: int, layers: int, attention_width: int, projector_weights: int
) -> float:
    """Return the floating-point operations of reading a prompt, up to the state of its last token.

    ``2 W L + 2 A K L^2 + 2 P N``: a multiplication and an addition for each weight and token, and for each layer and pair of
    tokens ``2 K`` for the score and ``2 K`` for the sum, where a token sees half of the others on average (Kaplan et al.,
    *Scaling laws for neural language models*, arXiv 2001.08361, section 2.1). Full attention among image tokens costs more.

    Args:
        tokens: Tokens of the prompt, ``L``.
        image_tokens: Those of the image, ``N``.
        weights: Values in the matrices that every token passes through, without embedding tables and output layer, ``W``.
        layers: Number of attention layers, ``A``.
        attention_width: Heads times size of a head, ``K``.
        projector_weights: Values in the matrices of the projector, ``P``.
    """
    return float(2 * weights * tokens + 2 * layers * attention_width * tokens**2 + 2 * projector_weights * image_tokens)


def _parse(text: str, colour: bool) -> Caption | None:
    try:
        return parse_caption(text, colour=colour)
    except CaptionError:
        return None


def _agreement(one: CaptionObject, other: CaptionObject) -> int:
    return sum(getattr(one, name) == getattr(other, name) for name in ATTRIBUTES)


def _share(values: Iterable[bool]) -> float:
    return float(np.mean(list(values)))
