"""Reads requests with vpp_papi, VPP's own client for Python, which shares no code with Manifold.

Takes a file of definitions as VPP's compiler writes them, and on standard input a list of requests: name, and bytes in
hexadecimal. Writes what it read as JSON. Ends with 77 if vpp_papi is not there.
"""

import json
import sys

try:
    from vpp_papi.vpp_papi import VPPApiJSONFiles
except ImportError:
    sys.exit(77)


def plain(value):
    """What JSON can say of a value."""
    if isinstance(value, tuple):
        return {key: plain(each) for key, each in value._asdict().items()}
    if isinstance(value, (list, bytes)):
        return [plain(each) for each in value]
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


with open(sys.argv[1], encoding="utf-8") as definitions:
    messages = VPPApiJSONFiles.process_json_str(definitions.read())[0]
told = []
for name, digits in json.load(sys.stdin):
    body = bytes.fromhex(digits)
    message = messages[name]
    read, _ = message.unpack(body)
    fields = read._asdict()
    fields["_vl_msg_id"] = fields.pop("_0")
    told.append({"name": name, "again": bytes(message.pack(fields)).hex(), "read": plain(read)})
json.dump(told, sys.stdout)
