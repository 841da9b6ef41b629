"""Scores of sessions, their calibration and their explanation."""
