"""What is wrong with this machine for training, and how to mend it."""
