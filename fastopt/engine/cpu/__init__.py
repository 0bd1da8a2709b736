"""The training engine on the processor: a compiled loop over batches, and the trainer around it."""
