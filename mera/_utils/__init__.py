"""Helpers that several folders share; nobody's API."""
