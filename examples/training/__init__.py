"""How the example adapters are trained, a step a module; `examples/train_adapters.py` is the command."""
