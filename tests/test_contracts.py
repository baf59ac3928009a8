"""The structure that CONTRIBUTING.md draws, held by import-linter."""

from __future__ import annotations

import subprocess
import sys

from tests.worker import ROOT


def test_the_import_contracts_hold():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, "0 broken" in done.stdout) == (0, True), done.stdout
