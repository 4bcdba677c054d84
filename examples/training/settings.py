"""The settings that every recipe shares."""

from __future__ import annotations

BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SEED = 2024
HELD_OUT_SHARE = 0.15
MAX_TOKENS = 128
BATCH_ROWS = 32
BUCKET_BATCHES = 16
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
LORA_DROPOUT = 0.1
HEAD = "classifier"
