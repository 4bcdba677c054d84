"""Turns a pickle of tensors into safetensors: run as a script, in a process of its own, never imported."""

import sys

import torch
from safetensors.torch import save_file

source, target = sys.argv[1:3]
loaded = torch.load(source, map_location="cpu", weights_only=True)
save_file({name: tensor.detach().float().contiguous().clone() for name, tensor in loaded.items()}, target)
