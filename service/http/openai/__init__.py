"""OpenAI's convention: what its clients send."""
