"""One command's processes: a supervisor, API processes that share a port, an engine that they share."""
