"""The commands of docs/training.md, as they stand there, on a tiny model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY, environment

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SIZE = "--precision fp32"
SHORT = "--evaluate-steps 0 --block 32 --batch-size 4 --accumulate 1 --steps 4"


def test_the_guide_leads_from_a_model_to_an_evaluated_adapter(
    tmp_path: Path, base_folder: Path, text_file: Path, alpaca_file: Path
):
    settings, *blocks = BLOCK.findall((REPOSITORY / "docs/training.md").read_text())
    names = re.findall(r"^(\w+)=", settings, re.MULTILINE)
    assert names == ["MODEL", "TEXT", "DATA", "RUNS", "SIZE", "PRETUNING", "TUNING"]
    given = {
        **environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MODEL": str(base_folder),
        "TEXT": str(text_file),
        "DATA": str(alpaca_file),
        "RUNS": str(tmp_path),
        "SIZE": SIZE,
        "PRETUNING": SHORT,
        "TUNING": "--evaluate-steps 0 --batch-size 4 --accumulate 1 --steps 4 --held-out 20",
    }
    commands = [block for block in blocks if block.startswith("python ")]
    assert len(commands) == 3
    for block in commands:
        # The tiny base has no template of its own, and the tiny data fewer entries to hold out.
        command = block.replace("--format chat", "--format alpaca").replace(
            "evaluate_model.py", "evaluate_model.py --held-out 20 --block 32"
        )
        done = subprocess.run(["bash", "-euc", command], cwd=REPOSITORY, env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "tuned/adapter.safetensors").is_file()
    assert (tmp_path / "evaluation.json").is_file()
