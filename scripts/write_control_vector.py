"""Write a control vector in GGUF as repeng does: what the server's reader is held against."""

from __future__ import annotations

from pathlib import Path

import numpy
from gguf import GGUFWriter

from toast.settings import command, run_command

DESCRIPTION = """\
Write to OUT, a .gguf file, random directions of length 1 for layers 1 … LAYERS - 1, named as repeng's export_gguf
and llama.cpp's cvector-generator name them.

example:
  python write_control_vector.py --layers 4 --hidden-size 8 --out ../test/vectors/repeng.gguf
"""


def write(layers: int, hidden_size: int, seed: int, out: Path) -> None:
    """Directions (D,) in float32, of length 1."""
    writer = GGUFWriter(out, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", layers - 1)
    generator = numpy.random.default_rng(seed)
    for layer in range(1, layers):
        direction = generator.standard_normal(hidden_size).astype(numpy.float32)
        writer.add_tensor(f"direction.{layer}", direction / numpy.linalg.norm(direction))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--layers", type=int, required=True, help="layers of the model")
    parser.add_argument("--hidden-size", type=int, required=True, help="channels of its residual stream")
    parser.add_argument("--seed", type=int, default=0, help="of the directions")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args()
    write(arguments.layers, arguments.hidden_size, arguments.seed, arguments.out)


if __name__ == "__main__":
    run_command(main)
