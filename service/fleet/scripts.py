"""The steps that Redis must take as one. They run even when its memory is full, or it would never empty."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """Lua, and the digest by which Redis knows it."""

    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


FINISH = Script("""#!lua flags=allow-oom
-- KEYS: stream, replies. ARGV: group, how long replies are kept (ms); of each item entry, number, answer.
-- Only the first of several workers that finish an entry writes an answer.
local answers = {}
for i = 3, #ARGV, 3 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) + redis.call('XDEL', KEYS[1], ARGV[i]) > 0 then
    answers[#answers + 1] = ARGV[i + 1]
    answers[#answers + 1] = ARGV[i + 2]
  end
end
if #answers > 0 then
  redis.call('XADD', KEYS[2], '*', unpack(answers))
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return #answers
""")

BEAT = Script("""#!lua flags=allow-oom
-- KEYS: a model's workers. ARGV: worker, how long it counts as alive (ms). Says what time it is (ms).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2])
return now
""")

STATUS = Script("""#!lua flags=no-writes
-- KEYS: a model's workers, streams. ARGV: group.
-- Says who is alive, and how many entries of each stream wait for a worker.
-- Entries leave with their answer, so those that no worker has are all but the pending ones.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waiting = {}
for i = 2, #KEYS do
  local pending = redis.pcall('XPENDING', KEYS[i], ARGV[1])
  local length = redis.call('XLEN', KEYS[i])
  waiting[i - 1] = length - (pending.err and 0 or pending[1])
end
return {redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf'), waiting}
""")

LOST = Script("""#!lua flags=no-writes
-- KEYS: a stream. ARGV: entries. Says which of them are no longer there.
local lost = {}
for _, entry in ipairs(ARGV) do
  if #redis.call('XRANGE', KEYS[1], entry, entry) == 0 then
    lost[#lost + 1] = entry
  end
end
return lost
""")

CLAIM = Script("""#!lua flags=allow-oom
-- KEYS: a stream. ARGV: group, consumer, idle time (ms), most entries.
-- Takes over entries that nobody confirms.
-- Says of each: the entry, its fields and values, how often it was delivered.
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])[2]
for _, each in ipairs(claimed) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], each[1], each[1], 1)
  each[3] = pending[1][4]
end
return claimed
""")

SWEEP = Script("""#!lua flags=allow-oom
-- KEYS: a stream, its model's workers. ARGV: group, idle time (ms). Forgets consumers that are gone for good.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local name, pending, idle = consumer[2], consumer[4], consumer[6]
  if pending == 0 and idle > tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[2], name) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
  end
end
return 0
""")

KEEP = Script("""#!lua
-- KEYS: a result, all kept results, the bytes that they take.
-- ARGV: the result's content, how long it is kept (s), the most bytes of all.
-- Results are listed as SIZE:NAME by when they end. What has ended, and the first that will, makes room.
local time = redis.call('TIME')
local now, most = time[1] * 1, tonumber(ARGV[3])
local size = #ARGV[1] + 300  -- with what Redis needs for its names
if size > most then
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SET', KEYS[3], 0)
end
local function drop(members)
  for _, member in ipairs(members) do
    local taken, name = member:match('^(%d+):(.*)$')
    redis.call('ZREM', KEYS[2], member)
    redis.call('DEL', name)
    redis.call('DECRBY', KEYS[3], taken)
  end
end
drop(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100))
while redis.call('INCRBY', KEYS[3], 0) + size > most do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)
  if #first == 0 then
    redis.call('SET', KEYS[3], 0)
  end
  drop(first)
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if redis.call('ZADD', KEYS[2], now + ARGV[2], size .. ':' .. KEYS[1]) == 1 then
  redis.call('INCRBY', KEYS[3], size)
end
for i = 2, 3 do
  redis.call('EXPIRE', KEYS[i], 2 * ARGV[2])
end
return 1
""")

RELEASE = Script("""#!lua
-- KEYS: a lease. ARGV: its holder. Ends the lease, if it is still this holder's.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
""")

SCRIPTS = (FINISH, BEAT, STATUS, LOST, CLAIM, SWEEP, KEEP, RELEASE)


def call(script: Script, keys: list[str], *arguments: str | bytes | int) -> tuple[str | bytes | int, ...]:
    """The command that runs a script."""
    return ("EVALSHA", script.digest, len(keys), *keys, *arguments)
