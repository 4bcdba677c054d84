"""From PyTorch to a bundle: the only room that knows torch, transformers and optimum.

Reading a checkpoint, `add`, `remove` and `merge` work on files alone and import none of them.
"""
