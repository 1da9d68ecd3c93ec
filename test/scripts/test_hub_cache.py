"""The hub's cache is shared with huggingface_hub: the server's own tests of that, with the Python that has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from conftest import REPOSITORY

VITEST = REPOSITORY / "node_modules" / "vitest" / "vitest.mjs"


@pytest.mark.skipif(not VITEST.exists() or shutil.which("node") is None, reason="npm ci has not been run")
def test_what_either_downloads_the_other_finds():
    command = ["node", str(VITEST), "run", "test/hub/python-cache.test.ts", "--reporter", "dot"]
    environment = {**os.environ, "TOAST_HUB_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
