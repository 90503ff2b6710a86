"""Trained models that ship with the package; each folder holds a model card."""

from pathlib import Path

CODEC = Path(__file__).parent / "codec"
OBSERVERS = Path(__file__).parent / "observers"
