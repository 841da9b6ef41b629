"""Typed presets and run configurations, declared once for files, checks, overrides and forms."""
