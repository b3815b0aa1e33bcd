#!/usr/bin/env python3
"""Makes the Parquet files of this folder and what gavel must read from them (pyarrow 26.0.1): make_parquet.py [FOLDER]

matrix_*.parquet hold the same rows in every codec, encoding and page version; matrix.jsonl has these rows as docs/data.md says they become JSON.
Each other NAME.parquet has its NAME.jsonl.  Seeded: the same bytes each time.
"""
import base64
import datetime
import decimal
import json
import math
import os
import random
import sys
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 40
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))


def columns():
    r = random.Random(3)

    def some(make, share=0.2):
        return [None if r.random() < share else make() for _ in range(ROWS)]

    def text():
        return r.choice(["", "a", "h\u00e9llo", "\u65e5\u672c\u8a9e\n\"q\"", "x" * r.randint(0, 90), str(r.randint(0, 9))])

    def message():
        return {"role": r.choice(["user", "assistant", None]), "content": r.choice([text(), None])}

    def many(make, most=3):
        return [r.choice([make(), make(), None]) for _ in range(r.randint(0, most))]

    def raw(n):
        return bytes(r.randint(0, 255) for _ in range(n))

    ints = {"i8": (pa.int8(), -2**7, 2**7 - 1), "i16": (pa.int16(), -2**15, 2**15 - 1), "i32": (pa.int32(), -2**31, 2**31 - 1), "i64": (pa.int64(), -2**63, 2**63 - 1),
            "u8": (pa.uint8(), 0, 2**8 - 1), "u16": (pa.uint16(), 0, 2**16 - 1), "u32": (pa.uint32(), 0, 2**32 - 1), "u64": (pa.uint64(), 0, 2**64 - 1)}
    c = {"b": pa.array(some(lambda: r.random() < .5))}
    for name, (t, low, high) in ints.items():
        c[name] = pa.array(some(lambda: r.choice([low, high, 0, r.randint(low, high)])), t)
    pair = pa.struct([("role", pa.string()), ("content", pa.string())])
    meta = pa.struct([("raw_input", pa.list_(pair)), ("raw_output", pa.string()), ("statistics", pa.struct([("input_tokens", pa.int64()), ("output_tokens", pa.int64())]))])
    c.update({
        "h": pa.array(some(lambda: r.choice([0.5, 65504.0, 5.960464477539063e-08, 0.333251953125, -0.0, math.inf])), pa.float16()),
        "f": pa.array(some(lambda: r.choice([r.random(), 3.4e38, 0.1])), pa.float32()),
        "d": pa.array(some(lambda: r.choice([r.random(), 1e300, 5e-324, math.inf, -math.inf, math.nan, -0.0, 0.1]))),
        "s": pa.array(some(text)),
        "bin": pa.array(some(lambda: raw(r.randint(0, 9))), pa.binary()),
        "fixed": pa.array(some(lambda: raw(5)), pa.binary(5)),
        "ts_ms": pa.array(some(lambda: r.randint(-10**14, 10**14)), pa.timestamp("ms")),
        "ts_us": pa.array(some(lambda: r.randint(-10**16, 10**16)), pa.timestamp("us", tz="UTC")),
        "ts_ns": pa.array(some(lambda: r.randint(-9 * 10**18, 9 * 10**18)), pa.timestamp("ns")),
        "ts_whole": pa.array(some(lambda: r.randint(0, 10**9) * 10**6), pa.timestamp("us")),
        "date": pa.array(some(lambda: r.randint(-800000, 2900000)), pa.int32()).cast(pa.date32()),
        "t_ms": pa.array(some(lambda: r.randint(0, 86399999)), pa.time32("ms")),
        "t_us": pa.array(some(lambda: r.randint(0, 86399999999)), pa.time64("us")),
        "dec": pa.array(some(lambda: decimal.Decimal(r.randint(-10**15, 10**15)).scaleb(-3)), pa.decimal128(20, 3)),
        "dec38": pa.array(some(lambda: decimal.Decimal(r.choice([1, -1, 0]) * r.randint(0, 10**37)).scaleb(-38, decimal.Context(prec=50))), pa.decimal128(38, 38)),
        "dec9": pa.array(some(lambda: decimal.Decimal(r.randint(-10**8, 10**8))), pa.decimal128(9, 0)),
        "allnull": pa.array([None] * ROWS, pa.string()),
        "allnull_int": pa.array([None] * ROWS, pa.int64()),
        "nulltype": pa.nulls(ROWS),
        "required": pa.array([text() for _ in range(ROWS)]),
        "large": pa.array(some(text), pa.large_string()),
        "dict": pa.array(some(lambda: r.choice(["red", "green"]))).dictionary_encode(),
        "uuid": pa.array(some(lambda: uuid.UUID(int=r.getrandbits(128)).bytes), pa.uuid()),
        "list": pa.array(some(lambda: many(text, 4))),
        "list_ts": pa.array(some(lambda: many(lambda: r.randint(0, 10**12))), pa.list_(pa.timestamp("ms"))),
        "list_fixed": pa.array(some(lambda: [r.randint(0, 9), None]), pa.list_(pa.int32(), 2)),
        "list_large": pa.array(some(lambda: many(lambda: r.randint(0, 9))), pa.large_list(pa.int64())),
        "lists": pa.array(some(lambda: many(lambda: r.choice([[1, None, 3], []]))), pa.list_(pa.list_(pa.int32()))),
        "listss": pa.array(some(lambda: many(lambda: many(lambda: many(text, 2), 2), 2)), pa.list_(pa.list_(pa.list_(pa.string())))),
        "list_null": pa.array(some(lambda: [None] * r.randint(0, 2)), pa.list_(pa.null())),
        "struct": pa.array(some(lambda: {"x": r.choice([1, None]), "y": r.choice([text(), None])}), pa.struct([("x", pa.int64()), ("y", pa.string())])),
        "messages": pa.array(some(lambda: many(message)), pa.list_(pair)),
        "meta": pa.array(some(lambda: {"raw_input": r.choice([None, many(message)]), "raw_output": r.choice([None, text()]),
                                       "statistics": r.choice([None, {"input_tokens": r.randint(0, 9), "output_tokens": None}])}), meta),
        "metas": pa.array(some(lambda: many(lambda: {"raw_input": many(message), "raw_output": text(), "statistics": None})), pa.list_(meta)),
        "map": pa.array(some(lambda: [(str(k), r.choice([k, None])) for k in range(r.randint(0, 3))]), pa.map_(pa.string(), pa.int64())),
    })
    return c


def seconds(whole, fraction, digits):
    text = "%02d:%02d:%02d" % (whole // 3600, whole // 60 % 60, whole % 60)
    return text + (".%0*d" % (digits, fraction) if fraction else "")


def moment(value, unit, utc):
    per = {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    days, rest = divmod(value, 86400 * per)
    return "%sT%s%s" % (day(days), seconds(rest // per, rest % per, {"ms": 3, "us": 6, "ns": 9}[unit]), "Z" if utc else "")


def day(days):
    """Gregorian for any year: 400 years are 146,097 days."""
    cycles, rest = divmod(days + 719162, 146097)  # since 0001-01-01
    date = datetime.date(1, 1, 1) + datetime.timedelta(days=rest)
    year = date.year + 400 * cycles
    return "%s%04d-%02d-%02d" % ("-" if year < 0 else "", abs(year), date.month, date.day)


def plain(array):
    """Values of an array as gavel shows them."""
    t = array.type
    if pa.types.is_dictionary(t):
        return plain(array.dictionary_decode())
    if isinstance(t, pa.BaseExtensionType):
        return [None if v is None else str(uuid.UUID(bytes=v)) for v in array.storage.to_pylist()]
    if pa.types.is_struct(t):
        fields = [plain(array.field(i)) for i in range(t.num_fields)]
        return [{t.field(k).name: fields[k][i] for k in range(t.num_fields)} if array[i].is_valid else None for i in range(len(array))]
    if pa.types.is_map(t):
        return [None if not v.is_valid else [{"key": k, "value": x} for k, x in v.as_py()] for v in array]
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t):
        return [None if not v.is_valid else plain(v.values) for v in array]
    if pa.types.is_timestamp(t):
        return [None if v is None else moment(v, t.unit, t.tz) for v in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_date32(t):
        return [None if v is None else day(v) for v in array.cast(pa.int32()).to_pylist()]
    if pa.types.is_time(t):
        per = {"ms": 10**3, "us": 10**6, "ns": 10**9}[t.unit]
        whole = array.cast(pa.int32() if t.unit == "ms" else pa.int64()).to_pylist()
        return [None if v is None else seconds(v // per, v % per, {"ms": 3, "us": 6, "ns": 9}[t.unit]) for v in whole]
    if pa.types.is_decimal(t):
        return [None if v is None else format(v, "f") for v in array.to_pylist()]
    out = []
    for v in array.to_pylist():
        if isinstance(v, bytes):
            v = base64.b64encode(v).decode()
        if isinstance(v, float) and not math.isfinite(v):
            v = "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
        out.append(v)
    return out


def expected(name, table):
    values = [plain(c.combine_chunks()) for c in table.columns]
    with open(os.path.join(OUT, name + ".jsonl"), "w", encoding="utf-8") as f:
        for i in range(table.num_rows):
            f.write(json.dumps({n: v[i] for n, v in zip(table.schema.names, values)}, ensure_ascii=False) + "\n")


def write(name, table, **options):
    pq.write_table(table, os.path.join(OUT, name + ".parquet"), **options)


def main():
    data = columns()
    table = pa.table(data)
    table = table.cast(pa.schema([f.with_nullable(False) if f.name == "required" else f for f in table.schema]))
    expected("matrix", table)
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        write("matrix_%s_dict_v1" % codec, table, compression=codec, row_group_size=17, data_page_size=512, write_batch_size=16, data_page_version="1.0")
        write("matrix_%s_plain_v2" % codec, table, compression=codec, use_dictionary=False, row_group_size=30, data_page_size=512, write_batch_size=16, data_page_version="2.0")
    delta = {c: "DELTA_BINARY_PACKED" for c in ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "ts_ms", "ts_us", "date", "t_ms", "t_us", "allnull_int")}
    delta.update({c: "DELTA_LENGTH_BYTE_ARRAY" for c in ("s", "bin", "list.list.element")})
    delta.update({c: "DELTA_BYTE_ARRAY" for c in ("required", "allnull", "large", "fixed")})
    delta.update({"f": "BYTE_STREAM_SPLIT", "d": "BYTE_STREAM_SPLIT", "b": "RLE"})
    for v in ("1.0", "2.0"):
        write("matrix_zstd_delta_v" + v[0], table, compression="zstd", use_dictionary=False, column_encoding=delta, data_page_version=v, row_group_size=30,
              data_page_size=512, write_batch_size=16, write_page_checksum=True)
    write("matrix_noarrow", table, store_schema=False, compression="zstd")
    few = pa.table({n: data[n] for n in ("s", "list", "lists", "messages", "ts_ns")})
    expected("legacy", few)
    write("legacy", few, use_compliant_nested_type=False, use_deprecated_int96_timestamps=True, compression="snappy")
    expected("one", few.slice(0, 1))
    write("one", few.slice(0, 1))
    write("zero", few.slice(0, 0))


main()
