"""What people decided about sessions, kept so that it can be looked up, undone and accounted for."""
