"""Writes a Llama that lies in a GGUF file, llama.cpp's format, as transformers writes its own.

Weights that are stored in a few bits each become what they stand for in float32, so that the folder is a base like any
other. The tokenizer and its chat template come out of the same file.

Example:
    python examples/convert_gguf.py SmolLM2-135M-Instruct.Q4_1.gguf -o .models/SmolLM2-135M-Instruct
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def convert(file: Path, output: Path) -> None:
    """Write the Llama in the GGUF FILE to a folder: weights in float32, configuration and tokenizer."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    read: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # A fresh model, since transformers won't save one that it takes for quantised.
    config = copy.deepcopy(read.config)
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = read.generation_config
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(output)


if __name__ == "__main__":
    convert()
