"""How a rule becomes compiled, disk-cached kernels; the only loops over parameters."""
