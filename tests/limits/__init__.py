"""Requests that would hurt others, if nothing stood in their way."""
