"""Names that users call: options declared once, registries of functions, and calls written as text."""
