"""The training engine on the CPU: a compiled loop over batches, and the trainer around it."""
