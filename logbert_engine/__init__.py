"""The training engine behind logbert-tui: data, models, training, detection and the daemon."""

__version__ = "0.1.0"
