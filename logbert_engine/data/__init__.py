"""Session files to store, and store to nested stage samples and batches."""
