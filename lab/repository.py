"""Where the lab's own files lie: the checkout that this package was imported from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "compose"
COMPOSE_FILE = COMPOSE / "compose.yaml"
IMAGES_FILE = COMPOSE / "images.yaml"
TARGETS = COMPOSE / "targets"
K6_SCRIPTS = ROOT / "k6"
GO_TOOLCHAIN = ROOT / "requirements" / "go.txt"
