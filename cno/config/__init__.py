"""The one table of options, and what a value of an option may be."""
