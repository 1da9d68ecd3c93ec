"""Bring an adapter that is served back into the form that is trained, for whatever reads that."""

from __future__ import annotations

from pathlib import Path

from toast.adapter_file import AdapterFacts, save_adapter
from toast.checkpoint import load_model
from toast.files import BadFolder
from toast.hashing import backbone_hash
from toast.served_adapter import read_served, unfold
from toast.settings import command, run_command

DESCRIPTION = """\
Read the folder of a converted adapter (manifest.json, adapter.onnx and its weights) and write OUT/adapter.safetensors
with its JSON: an adapter that steers alike, with whatever int8 has rounded. Its maps are not those that were trained
(conversion folds them into one matrix a layer): it can be measured, looked into and converted again, and going on with
its training would go on from elsewhere.

example:
  python unfold_adapter.py --model SmolLM2-135M-Instruct.Q4_1.gguf \\
      --served ../models/smollm2-135m-instruct/adapters/alpaca --out runs/served/alpaca
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="the base that it steers: folder or .gguf file")
    parser.add_argument("--served", type=Path, required=True, help="folder of the converted adapter")
    parser.add_argument("--out", type=Path, required=True, help="folder for adapter.safetensors and adapter.json")
    arguments = parser.parse_args()
    served = read_served(arguments.served)
    bound = served.manifest["backboneSha256"]
    found = backbone_hash(arguments.model)
    if found != bound:
        raise BadFolder(f"{arguments.served} was made for another backbone ({bound[:12]}…, not {found[:12]}…)")
    layers = load_model(arguments.model).model.layers
    adapter = unfold(served, [layer.self_attn.v_proj.weight.detach() for layer in layers])
    presentation = served.manifest.get("presentation") or {}
    facts = AdapterFacts(
        bound,
        served.manifest["stage"],
        licence=served.manifest.get("licence"),
        description=presentation.get("description"),
        example_prompt=presentation.get("examplePrompt"),
        recommended_strength=presentation.get("recommendedStrength"),
    )
    save_adapter(adapter, arguments.out / "adapter.safetensors", facts)
    print(f"{arguments.out / 'adapter.safetensors'}: steers as {served.manifest['name']} is served")


if __name__ == "__main__":
    run_command(main)
