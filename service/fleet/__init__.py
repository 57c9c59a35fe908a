"""Batching across processes and hosts, by way of Redis Streams.

    API process                          Redis                               worker
    batcher ── XADD ──────► {prefix}:2:{model@version}:{stage}:{lane} ── XREADGROUP ──► engine
    fleet ◄─── XREAD ────── {prefix}:2:replies:{process} ◄─ XADD, XACK, XDEL in one step ─┘

An entry lives until its answer is written. One whose worker died is claimed by another; one that is gone
without an answer is written again by the process that waits for it. All times are Redis's own or monotonic.
"""
