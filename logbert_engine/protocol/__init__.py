"""What engine and console say to each other: events, messages, framing and the client."""
