"""Write the folder `argocd/`: `python -m tools.argo_cd`, or `make generate`."""

import shutil
from pathlib import Path

from .customizations import files

OUTPUT = Path(__file__).parents[2] / "argocd"
GENERATED = OUTPUT / "cloudrun-identity.dev"


def main() -> None:
    """Replace the generated files."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    for name, text in files().items():
        path = OUTPUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
