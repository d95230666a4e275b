"""A trained captioner to a published version: ONNX graphs, parity, manifest, signature."""
