"""Where the lab's own files lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "compose"
COMPOSE_FILE = COMPOSE / "compose.yaml"
IMAGES_FILE = COMPOSE / "images.yaml"
GO_TOOLCHAIN = ROOT / "requirements" / "go.txt"
COMPOSE_PLUGIN_MODULE = Path(__file__).resolve().parent / "gomods" / "compose"
