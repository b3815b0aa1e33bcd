#!/usr/bin/env python3
"""Makes lies/*.parquet: files whose footers contradict themselves or the file (pyarrow 26.0.1 for the honest one): make_lies.py [FOLDER]

The footer is Thrift's compact protocol; it is decoded into {field: [type, value]}, altered and encoded again.  Field numbers are those of
parquet.thrift: FileMetaData 3 num_rows, 4 row_groups; RowGroup 1 columns, 3 num_rows; ColumnChunk 3 meta_data; ColumnMetaData 1 type, 4 codec,
5 num_values, 7 total_compressed_size, 9 data_page_offset.
"""
import io
import os
import struct
import sys

import pyarrow as pa
import pyarrow.parquet as pq

OUT = os.path.join(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)), "lies")
BINARY, LIST, STRUCT = 8, 9, 12


def read_varint(f):
    value = shift = 0
    while True:
        byte = f.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def write_varint(f, v):
    while v > 127:
        f.write(bytes([v & 127 | 128]))
        v >>= 7
    f.write(bytes([v]))


def read(f, t):
    if t in (1, 2):
        return t == 1
    if t == 3:
        return f.read(1)[0]
    if t in (4, 5, 6):
        v = read_varint(f)
        return v >> 1 ^ -(v & 1)
    if t == 7:
        return f.read(8)
    if t == BINARY:
        return f.read(read_varint(f))
    if t == LIST:
        head = f.read(1)[0]
        n = head >> 4 if head >> 4 < 15 else read_varint(f)
        return [head & 15, [read(f, head & 15) for _ in range(n)]]
    fields, number = {}, 0
    while True:
        head = f.read(1)[0]
        if head == 0:
            return fields
        if head >> 4:
            number += head >> 4
        else:
            v = read_varint(f)
            number = v >> 1 ^ -(v & 1)
        fields[number] = [head & 15, read(f, head & 15)]


def write(f, t, v):
    if t in (1, 2):
        return
    if t == 3:
        f.write(bytes([v]))
    elif t in (4, 5, 6):
        write_varint(f, v << 1 if v >= 0 else (-v << 1) - 1)
    elif t == 7:
        f.write(v)
    elif t == BINARY:
        write_varint(f, len(v))
        f.write(v)
    elif t == LIST:
        f.write(bytes([min(len(v[1]), 15) << 4 | v[0]]))
        if len(v[1]) >= 15:
            write_varint(f, len(v[1]))
        for x in v[1]:
            write(f, v[0], x)
    else:
        last = 0
        for number, (kind, x) in sorted(v.items()):
            assert 0 < number - last < 16
            if kind in (1, 2):
                kind = 1 if x else 2
            f.write(bytes([number - last << 4 | kind]))
            last = number
            write(f, kind, x)
        f.write(b"\0")


def honest():
    f = io.BytesIO()
    table = pa.table({"a": pa.array([1, None, 3, 4, 5, 6, 7]), "b": ["one", "two", None, "four", "", "six", "seven"],
                      "m": pa.array([[{"x": 1, "y": 2}], [], None, [{"x": 3, "y": 4}, {"x": 5, "y": 6}], [], [], []])})
    pq.write_table(table, f, row_group_size=3, compression="snappy", use_dictionary=False)
    return f.getvalue()


def altered(data, change):
    length = struct.unpack("<I", data[-8:-4])[0]
    footer = read(io.BytesIO(data[-8 - length:-8]), STRUCT)
    change(footer)
    f = io.BytesIO()
    write(f, STRUCT, footer)
    return data[:-8 - length] + f.getvalue() + struct.pack("<I", f.tell()) + b"PAR1"


def group(footer, g=0):
    return footer[4][1][1][g]


def chunk(footer, c=0, g=0):
    return group(footer, g)[1][1][1][c][3][1]


def put(where, field, value):
    where[field][1] = value


def shorter_column(footer):
    """Both say 4 rows, and so does the file; the pages of b have 3."""
    put(footer, 3, 8)
    put(group(footer), 3, 4)
    for c in range(4):
        put(chunk(footer, c), 5, chunk(footer, c)[5][1] + 1)


def main():
    os.makedirs(OUT, exist_ok=True)
    data = honest()
    assert altered(data, lambda f: None) == data
    lies = {
        "rows_file": lambda f: put(f, 3, 8),
        "rows_group": lambda f: (put(group(f), 3, 4), put(f, 3, 8)),
        "values_more": lambda f: put(chunk(f), 5, 4),
        "values_fewer_in_page": shorter_column,
        "offset": lambda f: put(chunk(f), 9, 1 << 40),
        "size": lambda f: put(chunk(f), 7, 1 << 40),
        "huge_rows": lambda f: (put(group(f), 3, 1 << 40), put(f, 3, (1 << 40) + 4)),
        "codec_lzo": lambda f: put(chunk(f), 4, 3),
        "codec_unknown": lambda f: put(chunk(f), 4, 77),
        "wrong_codec": lambda f: put(chunk(f), 4, 6),
        "lists_differ": lambda f: [put(chunk(f, 3), n, chunk(f, 3, 1)[n][1]) for n in (5, 6, 7, 9)],
        "type": lambda f: put(chunk(f), 1, 1),
    }
    for name, change in lies.items():
        with open(os.path.join(OUT, name + ".parquet"), "wb") as f:
            f.write(altered(data, change))


main()
