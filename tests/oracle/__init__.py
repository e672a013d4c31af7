"""The slow, obvious versions of the compiled scheduling classes."""
