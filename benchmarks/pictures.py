"""Make the picture of the README: photograph, boundaries, segments at three budgets, reconstruction.

python benchmarks/pictures.py
"""

from pathlib import Path

import cv2
import numpy as np

from subobject import SubobjectTokenizer, read_image
from subobject.images import write_png
from subobject.viewer.overlay import draw_borders, fill_segments

ROOT = Path(__file__).parent.parent
BUDGETS = (16, 64, 256)
TOKENS = 100


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text under a picture."""
    strip = np.full((34, picture.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(strip, text, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


def main() -> None:
    tokenizer = SubobjectTokenizer.from_pretrained()
    image = read_image(ROOT / "examples" / "photos" / "coffee.png")
    assert tokenizer.segmenter.boundary_model is not None
    probability = tokenizer.segmenter.boundary_model([image])[0].probability
    finest = tokenizer.segmenter(image)
    boundaries = np.repeat(np.rint((1 - probability) * 255).astype(np.uint8)[..., None], 3, axis=2)
    cuts = []
    for budget in BUDGETS:
        cut = finest.cut(max_segments=budget)
        cuts.append(caption(draw_borders(fill_segments(image, cut), cut.labels), f"{cut.num_segments} segments"))
    tokens = tokenizer(image, max_tokens=TOKENS)
    (decoded,) = tokenizer.decode(tokens)
    top = [
        caption(image, "photograph"),
        caption(boundaries, "boundaries"),
        caption(decoded, f"decoded from {tokens.num_tokens} tokens"),
    ]
    picture = np.concatenate([np.concatenate(top, axis=1), np.concatenate(cuts, axis=1)])
    height, width = picture.shape[:2]
    write_png(
        ROOT / "docs" / "overview.png", cv2.resize(picture, (1500, round(1500 * height / width)), interpolation=cv2.INTER_AREA)
    )


if __name__ == "__main__":
    main()
