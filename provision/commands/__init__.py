"""The verbs, one a file. Each is imported only when it is chosen, and imports what is heavy only when it runs."""
