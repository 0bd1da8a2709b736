"""Files of models: arrays (safetensors) and JSON, nothing that could be executed when a file is loaded.

Internal: `fastopt.save` and `fastopt.load` are public, and so is the format, `container` and `objects`, which
later versions read.
"""
