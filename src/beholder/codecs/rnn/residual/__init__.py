"""The residual layer: qualities 9 to 12, by coding what the picture of quality 8 lacks."""
