"""Figures of detectors on labelled sessions: measures, intervals, the floor beside the model, leaks refused."""
