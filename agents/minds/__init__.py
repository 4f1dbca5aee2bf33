"""Minds that are language models: what they are shown, what they answer, and what code makes of it."""
