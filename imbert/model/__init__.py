"""Models with implicit steps in place of layers."""
