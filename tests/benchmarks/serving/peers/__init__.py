"""Other servers around the same encoder, each as its documentation has it; they answer bare float32.

What each is to serve stands in the environment: see `Encoder.from_environment` and `PORT`.
"""
