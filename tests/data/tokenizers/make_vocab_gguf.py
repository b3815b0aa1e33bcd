"""Copies the key-value part of a GGUF: make_vocab_gguf.py IN OUT.  Tensors are left out; the tokenizer needs none."""
import struct
import sys

SIZE = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def skip(b, at, kind):
    if kind == 8:
        return at + 8 + struct.unpack_from('<Q', b, at)[0]
    if kind == 9:
        elem, n = struct.unpack_from('<IQ', b, at)
        at += 12
        if elem != 8:
            return at + n * SIZE[elem]
        for _ in range(n):
            at = skip(b, at, 8)
        return at
    return at + SIZE[kind]


b = open(sys.argv[1], 'rb').read()
magic, version, n_tensors, n_kv = struct.unpack_from('<4sIQQ', b)
at = 24
for _ in range(n_kv):
    at = skip(b, at, 8)
    at = skip(b, at + 4, struct.unpack_from('<I', b, at)[0])
open(sys.argv[2], 'wb').write(struct.pack('<4sIQQ', magic, version, 0, n_kv) + b[24:at])
