"""What a command tells as a sentence, beside `OSError` and `ValueError`."""


class SourceError(RuntimeError):
    """A source that can't be fetched; the message says which tool or package is missing."""


class DivergedError(RuntimeError):
    """Too many steps in a row had a loss or gradient that was not finite."""
