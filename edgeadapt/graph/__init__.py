"""The base as a graph of ONNX nodes: where its sites are, and how adapters are spliced in or folded away."""
