"""The Open Inference Protocol over gRPC, beside HTTP in the same process: the same models, limits and keys.

open_inference.proto   the protocol; open_inference.binpb is made of it by protoc
protocol.py            its messages, read from there
wire.py                a request as it travels: what is long stays where it came
tensors.py             a request as a call, its outcome as an answer
reading.py             messages that come: how many may come slowly, what they hold, who sends them
calls.py               what surrounds every call: key, id, errors, metrics, log
stream.py              many requests on one call
reflection.py          what there is to call, for tools
health.py              gRPC's own health
service.py             the methods
server.py              the port, from its opening to its end
"""
