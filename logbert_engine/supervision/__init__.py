"""Starts the processes that train, watches them, and starts them again where that helps."""
