"""A small bundle of format 1.0, kept as it was written: every later version must load it and give the same answers."""
