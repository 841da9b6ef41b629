"""The engine's daemon: a socket server that owns runs, tails their journals and supervises their workers."""
