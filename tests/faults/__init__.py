"""The fault suite: each row of the table in ``report.py`` is a promise, kept by tests that break things for real."""
