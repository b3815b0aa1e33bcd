"""safetensors files for tests: {name: (dtype, shape, bytes)} from a file and into one.  Standard library only."""
import json
import struct

import support


def read_tensors(path):
    data = support.read(path)
    n = struct.unpack_from("<Q", data)[0]
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in head.items()}


def put_tensors(path, content):
    head, data = {}, bytearray()
    for name, (dtype, shape, raw) in content.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    support.write(path, struct.pack("<Q", len(text)) + text + bytes(data))
