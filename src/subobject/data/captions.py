"""Captions of CLEVR scenes: the number of objects, then size, colour, material and shape of each from left to right.

The wording is that of the authors of subobject tokens (arXiv 2402.14327, figure 4; ``generate_clevr_caption`` in their research
repository). Grammar, in which every space and comma counts::

    caption  = "Total " number " objects: " object { ", " object } "."
    object   = "a " size " " [ colour " " ] material " " shape
    number   = digit { digit }, without leading zeros
    size     = "large" | "small"
    colour   = "gray" | "red" | "blue" | "green" | "brown" | "purple" | "cyan" | "yellow"
    material = "rubber" | "metal"
    shape    = "cube" | "sphere" | "cylinder"

A colour is in every object or in none. The number need not be that of the objects listed, so that the two can be judged apart.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from subobject.data.clevr import COLOURS, MATERIALS, SHAPES, SIZES, ClevrImage
from subobject.files import atomic_path

_HEAD = re.compile(r"Total (0|[1-9]\d*) objects: ")


class CaptionError(ValueError):
    """A text is not a caption; the message says where it departs from the grammar."""


@dataclass(frozen=True)
class CaptionObject:
    """What a caption says of one object; ``colour`` is None in captions without colours."""

    size: str
    colour: str | None
    material: str
    shape: str

    def __str__(self) -> str:
        """Return for example ``a small gray metal cube``."""
        return " ".join(["a", *(word for word in (self.size, self.colour, self.material, self.shape) if word is not None)])


@dataclass(frozen=True)
class Caption:
    """A caption as values: the number it states, and the objects it lists from left to right, at least one."""

    count: int
    objects: tuple[CaptionObject, ...]

    def __str__(self) -> str:
        """Return the text, which ``parse_caption`` reads back."""
        return f"Total {self.count} objects: {', '.join(map(str, self.objects))}."


def describe(image: ClevrImage, *, colour: bool = True) -> Caption:
    """Return the true caption of an image, with or without colours.

    Raises:
        ValueError: If the scene has no object.
    """
    if not image.objects:
        raise ValueError(f"{image.image_path} has no object: there is nothing to caption")
    objects = tuple(
        CaptionObject(one.size, one.colour if colour else None, one.material, one.shape) for one in image.left_to_right
    )
    return Caption(len(objects), objects)


def caption(image: ClevrImage, *, colour: bool = True) -> str:
    """Return the text of the true caption of an image; see ``describe``."""
    return str(describe(image, colour=colour))


def write_captions(path: str | Path, images: Iterable[ClevrImage], *, colour: bool = True) -> None:
    """Write a JSON object a line with the file name of the ``image`` and its ``caption``; whole or not at all."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as lines:
        for image in images:
            lines.write(json.dumps({"image": image.image_path.name, "caption": caption(image, colour=colour)}) + "\n")


def parse_caption(text: str, *, colour: bool = True) -> Caption:
    """Read a caption, strictly by the grammar.

    Args:
        text: The caption and nothing else.
        colour: Whether objects have colours.

    Raises:
        CaptionError: If the text departs from the grammar in any character.

    Example:
        >>> parse_caption("Total 1 objects: a small gray metal cube.")
        Caption(count=1, objects=(CaptionObject(size='small', colour='gray', material='metal', shape='cube'),))
    """
    head = _HEAD.match(text)
    if head is None:
        raise CaptionError(f"the caption {_short(text)} does not start with 'Total N objects: '")
    if not text.endswith("."):
        raise CaptionError(f"the caption {_short(text)} does not end with '.'")
    objects = [_parse_object(part, i, colour) for i, part in enumerate(text[head.end() : -1].split(", "), start=1)]
    return Caption(int(head[1]), tuple(objects))


def _parse_object(text: str, number: int, colour: bool) -> CaptionObject:
    kinds = {"size": SIZES, "colour": COLOURS, "material": MATERIALS, "shape": SHAPES}
    if not colour:
        del kinds["colour"]
    article, *words = text.split(" ")
    if article != "a" or len(words) != len(kinds):
        raise CaptionError(f"object {number} of the caption is {_short(text)}: expected 'a {' '.join(kinds).upper()}'")
    for (kind, known), word in zip(kinds.items(), words, strict=True):
        if word not in known:
            raise CaptionError(f"object {number} of the caption has the {kind} {_short(word)}: expected {', '.join(known)}")
    found = dict(zip(kinds, words, strict=True))
    return CaptionObject(found["size"], found.get("colour"), found["material"], found["shape"])


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
