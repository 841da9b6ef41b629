"""A simulated microservice system that writes logs, session files and labels."""
