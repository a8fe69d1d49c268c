"""What operators read: the loggers and the lines that they write."""
