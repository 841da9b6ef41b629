"""The terminal console: shows and steers, and never imports torch."""
