"""Readings and renderings of the packaging formats. Pure: bytes in, facts or a refusal out."""
