"""Sizes of a codec that has every network and learns in a second."""

SIZES = {
    "n": 16,
    "m": 16,
    "hidden": 16,
    "context": 8,
    "analysis_blocks": 1,
    "eye_width": 8,
    "eye_blocks": 1,
    "eye_codes": 8,
    "machine_network": 1,
}
