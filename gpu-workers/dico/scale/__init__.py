"""Training at the paper's size: shards in, many devices, exact resume."""
