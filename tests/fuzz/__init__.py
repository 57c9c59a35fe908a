"""Random inputs for everything that reads what strangers send, guided by the code that they reach."""
