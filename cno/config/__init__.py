"""The one table of options, the checks of their values, and the errors of a start."""
