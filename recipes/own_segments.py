"""Cut photographs into the segments of the tokenizer that ships: a data set for autoencoders (`dataset: folder`).

    python recipes/own_segments.py runs/own_segments BSDS500_FOLDER/images/train BSDS500_FOLDER/images/val photos

Every photograph of the folders is linked to `images/`, and its label map at each budget is written to `labels/NAME_0.png`,
`NAME_1.png` and so on.
"""

import argparse
from pathlib import Path

from PIL import Image

from subobject import read_image
from subobject.data.files import list_pictures
from subobject.segments.pipeline import ImageSegmenter

BUDGETS = (48, 128, 320)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("photographs", type=Path, nargs="+", help="folders")
    arguments = parser.parse_args()
    segmenter = ImageSegmenter.load()
    for name in ("images", "labels"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    for path in [path for folder in arguments.photographs for path in list_pictures(folder)]:
        link = arguments.output / "images" / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        finest = segmenter(read_image(path))
        for number, budget in enumerate(BUDGETS):
            labels = finest.cut(max_segments=budget).labels
            Image.fromarray(labels.astype("uint16")).save(arguments.output / "labels" / f"{path.stem}_{number}.png")


if __name__ == "__main__":
    main()
