"""Write which tokens transformers' typical sampling keeps: what src/sampling/candidates.ts is held against."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

DESCRIPTION = """\
Draws logits, and writes for each with a temperature, a mass and at times a top_k the ids that are left. Needs
requirements-templates.txt.

example:
  python write_typical_reference.py --out ../test/sampling/typical.json
"""
TOKENS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TypicalLogitsWarper

    torch.manual_seed(5)
    rows = []
    for case in range(60):
        # Four digits, so that the file says exactly what was looked at; spread from nearly even to nearly certain.
        logits = (torch.randn(1, TOKENS) * [0.05, 1.0, 3.0, 8.0][case % 4]).round(decimals=4)
        temperature, mass = [1.0, 0.5, 1.7][case % 3], [0.2, 0.5, 0.9, 0.95, 0.999][case % 5]
        top_k = 10 if case % 7 == 0 else None
        left = TemperatureLogitsWarper(temperature)(None, logits)
        if top_k is not None:
            left = TopKLogitsWarper(top_k)(None, left)
        left = TypicalLogitsWarper(mass)(None, left)
        rows.append(
            {
                "logits": [round(value, 4) for value in logits[0].tolist()],
                "temperature": temperature,
                "typicalP": mass,
                "topK": top_k,
                "kept": left[0].isfinite().nonzero().flatten().tolist(),
            }
        )
    out.write_text(json.dumps(rows, separators=(",", ":")).replace("},{", "},\n{") + "\n", "utf-8")


if __name__ == "__main__":
    main()
