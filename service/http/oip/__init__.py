"""The Open Inference Protocol, version 2, as clients of Triton and KServe speak it, with binary tensors.

tensors.py       arrays as JSON or as bytes
messages.py      requests and answers
stages.py        what the protocol calls a model: a served model's encoder, decoder and embed
"""
