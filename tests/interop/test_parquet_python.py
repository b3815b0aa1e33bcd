#!/usr/bin/env python3
"""Parquet files of gavel in pyarrow and datasets (build/interop, made by script/interop): types, nulls, nesting, the Hub's features.

    test_parquet_python.py GAVEL_BINARY [PART OF A TEST'S NAME]
"""
import json
import os

import hub_support as hs
import support

FILES = os.path.join(support.DATA, "parquet")

# What Parquet itself does not tell apart is compared as what it is stored as: Arrow's dictionaries, large and fixed-size lists, maps, UUIDs.
COMPARE = """if 1:
    import sys, uuid, math
    import pyarrow as pa, pyarrow.parquet as pq
    def stored(t):
        if isinstance(t, pa.BaseExtensionType) or pa.types.is_dictionary(t) or pa.types.is_large_string(t): return pa.string()
        if pa.types.is_map(t): return pa.list_(pa.field("element", pa.struct([("key", pa.string()), ("value", stored(t.item_type))])))
        if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t): return pa.list_(pa.field("element", stored(t.value_type)))
        if pa.types.is_struct(t): return pa.struct([(t.field(i).name, stored(t.field(i).type)) for i in range(t.num_fields)])
        return t
    def shown(v):
        if isinstance(v, uuid.UUID): return str(v)
        if isinstance(v, float): return "nan" if math.isnan(v) else repr(v)
        if isinstance(v, dict): return {k: shown(x) for k, x in v.items()}
        if isinstance(v, tuple): return {"key": v[0], "value": v[1]}
        return [shown(x) for x in v] if isinstance(v, list) else v
    for a, b in zip(sys.argv[1::2], sys.argv[2::2]):
        a, b = pq.read_table(a), pq.read_table(b)
        assert b.schema.names == a.schema.names + ["feedback", "result", "status", "message", "model_name"], b.schema.names
        for f in a.schema:
            assert b.schema.field(f.name).type == stored(f.type), (f.name, b.schema.field(f.name).type, stored(f.type))
            x, y = (shown([v.value if pa.types.is_temporal(f.type) and v.is_valid else None if not v.is_valid else v.as_py() for v in t[f.name]]) for t in (a, b))
            assert x == y, (f.name, [p for p in zip(x, y) if p[0] != p[1]][:3])
        assert [str(t) for t in b.schema.types[-5:]] == ["string", "int64", "string", "string", "string"]
        print(b.num_rows)
"""


def judged(folder, source, *more, out="out.parquet", want=0):
    return hs.gavel(folder, "http://127.0.0.1:1", "judge", source, "--model", "mock", "--rubric", support.RUBRIC, "--out", out, "--fresh", *more, want=want)


def python(folder, code, *args):
    return hs.python(folder, "http://127.0.0.1:1", "import sys\nsys.argv[1:] = %r\n" % (list(args),) + code.replace("if 1:\n", "if True:\n", 1))


def every_type_goes_through_a_run_and_back(folder):
    names = sorted(n for n in os.listdir(FILES) if n.startswith("matrix_") and n.endswith(".parquet"))
    assert len(names) == 15, names
    pairs = []
    for name in names:
        out = os.path.join(folder, name)
        judged(folder, os.path.join(FILES, name), "--map", "instruction=required,generation=required", out=out)
        pairs += [os.path.join(FILES, name), out]
    assert python(folder, COMPARE, *pairs).split() == ["40"] * 15


ROWS = [
    {"instruction": "a", "generation": "b", "n": 1, "f": 1, "list": [], "none": None, "messages": [{"role": "user", "content": "h\u00e9"}, None],
     "meta": {"statistics_x": {"output_tokens": 2, "input_tokens": 1}, "raw_output_x": None}},
    {"instruction": "", "generation": "c", "n": None, "f": 2.5, "list": [[1, None], [], None], "none": None, "messages": None, "meta": None},
    {"instruction": "x\u0000y", "generation": "d", "n": -9007199254740993, "f": None, "list": None, "none": None, "messages": [],
     "meta": {"raw_output_x": "text", "statistics_x": None}},
]


def rows_of_json_get_the_types_that_pyarrow_infers(folder):
    support.write("rows.jsonl", "".join(json.dumps(r) + "\n" for r in ROWS))
    judged(folder, "rows.jsonl")
    code = """if 1:
        import json, pyarrow as pa, pyarrow.parquet as pq
        rows = [json.loads(line) for line in open("rows.jsonl")]
        want, got = pa.Table.from_pylist(rows), pq.read_table("out.parquet")
        def item(t):  # this pyarrow keeps the order of members, that of distilabel sorted them, and so does gavel
            if pa.types.is_list(t): return "list<%s>" % item(t.value_type)
            return "struct<%s>" % sorted((t.field(i).name, item(t.field(i).type)) for i in range(t.num_fields)) if pa.types.is_struct(t) else str(t)
        for f in want.schema:
            assert item(f.type) == item(got.schema.field(f.name).type), (f, got.schema.field(f.name))
            assert want[f.name].to_pylist() == got[f.name].to_pylist(), f.name
        print(got.schema.field("meta").type)"""
    assert python(folder, code) == "struct<raw_output_x: string, statistics_x: struct<input_tokens: int64, output_tokens: int64>>"


def datasets_takes_the_features_from_the_file(folder):
    support.write("rows.jsonl", "".join(json.dumps(r) + "\n" for r in ROWS))
    judged(folder, "rows.jsonl")
    code = """if 1:
        import datasets, json
        d = datasets.load_dataset("parquet", data_files="out.parquet", split="train", cache_dir="cache")
        f = d.features
        print(f["n"].dtype, f["f"].dtype, f["result"].dtype, f["none"].dtype, f["messages"].feature["role"].dtype, f["meta"]["statistics_x"]["input_tokens"].dtype)
        print(json.dumps(d["messages"][:1][0] if isinstance(d["messages"], list) else list(d["messages"])[0]))"""
    lines = python(folder, code).split("\n")
    assert lines[0] == "int64 float64 int64 null string int64", lines
    assert json.loads(lines[1])[0] == {"role": "user", "content": "h\u00e9"}, lines


def verdict_columns_have_their_types_when_every_row_fails(folder):
    support.write("bad.jsonl", json.dumps({"instruction": "a", "generation": None, "generations": None}) + "\n")
    for mode, kind in (("absolute", "int64"), ("relative", "string")):
        judged(folder, "bad.jsonl", "--mode", mode, want=3)
        code = 'import pyarrow.parquet as pq; t = pq.read_table("out.parquet"); print([str(t.schema.field(n).type) for n in ("feedback", "result", "status")], t["result"].to_pylist())'
        assert python(folder, code) == "['string', '%s', 'string'] [None]" % kind


def mixed_columns_are_refused_before_anything_is_judged(folder):
    support.write("mixed.jsonl", '{"instruction": "a", "generation": "b", "m": {"n": 1}}\n{"instruction": "a", "generation": "b", "m": {"n": "x"}}\n')
    done = judged(folder, "mixed.jsonl", want=1)
    assert 'mixed.jsonl: column "m.n": string in row 1, int64 before it' in done.err, done.err
    assert not os.path.exists("out.parquet")
    support.write("empty.jsonl", '{"instruction": "a", "generation": "b", "m": {}}\n')
    assert 'column "m": an object without members cannot be stored in Parquet' in judged(folder, "empty.jsonl", want=1).err


support.main([every_type_goes_through_a_run_and_back, rows_of_json_get_the_types_that_pyarrow_infers, datasets_takes_the_features_from_the_file,
              verdict_columns_have_their_types_when_every_row_fails, mixed_columns_are_refused_before_anything_is_judged])
