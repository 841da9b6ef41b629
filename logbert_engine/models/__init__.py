"""Event vocabulary, encoders, transfer from a pre-trained model, masked surprisal."""
