"""How the example adapter of a decoder is trained, a step a module; `examples/train_writer.py` is the command."""
