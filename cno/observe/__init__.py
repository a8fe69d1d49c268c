"""The output for operators: the loggers and the form of their lines."""
