"""Files of models: arrays (safetensors) and JSON, nothing that could be executed when a file is loaded."""
