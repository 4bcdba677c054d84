"""Tests on the real all-MiniLM-L6-v2, which `make test` fetches; marked `real`."""
