"""Draw graphs of a codec model anew from the weights that they hold, after the code that draws them has changed.

    python scripts/redraw_graphs.py src/beholder/weights/codec analysis

Only graphs with weights of their own.  A model that decodes otherwise gets another identity, which `model.json` names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from beholder.codecs.rnn.onnx_model import identity
from beholder.codecs.rnn.torch.model import LappedTransformCodec
from beholder.codecs.rnn.torch.weights import exported
from beholder.files import save_atomically
from beholder.training.codec.graphs import ALONE, draw


def redraw(folder: Path, names: list[str]) -> None:
    """Write ``folder/NAME.onnx`` anew for each name in ``ALONE``, and the identity into ``model.json``.

    Raises:
        BadFileError: ``folder`` holds no whole codec.
    """
    config, (weights, _) = exported(folder)
    codec = LappedTransformCodec(config)
    codec.load_state_dict(codec.state_dict() | weights)
    codec.eval().requires_grad_(False)
    graphs = {name: draw(codec, name) for name in names}
    for name, content in graphs.items():
        save_atomically(folder / f"{name}.onnx", content)
    card = folder / "model.json"
    text = json.loads(card.read_text(encoding="utf-8")) | {"identity": identity(folder).hex()}
    save_atomically(card, (json.dumps(text, indent=2) + "\n").encode())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="as `beholder export` writes it")
    parser.add_argument("names", nargs="+", choices=ALONE)
    options = parser.parse_args()
    redraw(options.folder, options.names)
    print(f"{options.folder}  {identity(options.folder).hex()}")


if __name__ == "__main__":
    main()
