"""The Open Inference Protocol, version 2, as clients of Triton and KServe speak it, with binary tensors.

tensors.py       arrays as JSON or as bytes
calls.py         a call, however it came
messages.py      requests and answers over HTTP
stages.py        what the protocol calls a model: a served model's encoder, decoder and embed
"""
