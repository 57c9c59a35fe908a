"""What is sent by gRPC: messages whose parts are many, too long, or never end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import grpc

from service.http.grpc.protocol import SERVICE, ModelInferRequest
from tests.limits.victim import ATTACKER, Victim

METHOD = f"/{SERVICE}/ModelInfer"
MB = 10**6
CLIENTS = 8
SILENT = 1_100


def messages(size: float) -> dict[str, bytes]:
    """Requests by what they are, 11 MB times `size` long, which is what may come."""
    count = round(11 * MB * size)
    Tensor = ModelInferRequest.InferInputTensor
    embed = {"model_name": "embed"}

    def of(contents: dict[str, list[object]]) -> bytes:
        tensor = Tensor(name="image", datatype="BYTES", shape=[1], contents=contents)
        return bytes(ModelInferRequest(**embed, inputs=[tensor]).SerializeToString())

    named = bytes(ModelInferRequest(**embed).SerializeToString())
    outputs = ModelInferRequest(outputs=[{}]).SerializeToString()
    inputs = ModelInferRequest(inputs=[{}]).SerializeToString()
    raw = ModelInferRequest(raw_input_contents=[b""]).SerializeToString()
    return {
        "empty inputs": named + inputs * (count // len(inputs)),
        "empty outputs": named + outputs * (count // len(outputs)),
        "empty raw tensors": named + raw * (count // len(raw)),
        "empty strings": of({"bytes_contents": [b""] * (count // 2)}),
        "numbers": of({"uint_contents": [1] * count}),
        "no message": bytes(count),
    }


def calls(size: float) -> dict[str, tuple[Callable[[Victim], Counter[str]], int]]:
    """What to do by what it is called, and how much of it is held at a time, as sent."""
    silent = round(SILENT * size)

    def several(message: bytes) -> Callable[[Victim], Counter[str]]:
        return lambda victim: _at_once(victim, lambda _: iter([message]), CLIENTS)

    def silence(victim: Victim) -> Counter[str]:
        """Calls that never send their message."""
        over = threading.Event()

        def never(_: int) -> Iterator[bytes]:
            over.wait()
            yield b""

        with grpc.insecure_channel(victim.grpc) as channel:
            method = channel.stream_unary(METHOD)
            begun = [method.future(never(number), metadata=_KEY, timeout=5) for number in range(silent)]
            answers = Counter(_answer(call) for call in begun)
        over.set()
        return answers

    sent = {
        f"gRPC: {name}, {CLIENTS} at once": (several(message), CLIENTS * len(message))
        for name, message in messages(size).items()
    }
    return {**sent, f"gRPC: {silent} calls that send nothing": (silence, 0)}


_KEY = (("authorization", f"Bearer {ATTACKER}"),)
_OPTIONS = (("grpc.max_send_message_length", -1),)


def _at_once(victim: Victim, sent: Callable[[int], Iterator[bytes]], clients: int) -> Counter[str]:
    answers = Counter[str]()

    def work(number: int) -> None:
        with grpc.insecure_channel(victim.grpc, _OPTIONS) as channel:
            answer = _answer(channel.stream_unary(METHOD).future(sent(number), metadata=_KEY, timeout=120))
        with lock:
            answers[answer] += 1

    lock = threading.Lock()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _answer(call: grpc.Future) -> str:
    """A status, and our code."""
    code = dict(call.trailing_metadata()).get("x-stellar-code", "")
    return f"{call.code().name} {code}".strip()
