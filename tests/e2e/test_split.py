"""Split GGUF files, NAME-00001-of-00003.gguf: what the parts give is what the whole file gives, in every command; sets that are not one are refused.

The parts are written by ggufs.py, byte for byte as `llama-gguf-split --split-max-tensors` of llama.cpp b11434 writes them.
"""
import hashlib
import os
import shutil

import support
from ggufs import parts, put_parts, raw, put, whole_number
from support import judge, read, refused, rows, run, tiny, write

IDS = [1, 5, 9, 200, 33, 17, 4, 100, 11, 12, 45]


def logits(model, *args):
    run("logits", "-", "--model", model, "--ctx", "64", "--out", "l.bin", *args, stdin=[{"ids": IDS}], want=0)
    return read("l.bin")


def split(model, stem, n=3, **options):
    return put_parts(stem, parts(model, n, **options))


def any_part_gives_the_bits_of_the_whole_file(_):
    for arch, kind in (("mixtral", "Q4_K_M"), ("qwen2", "Q8_0")):
        whole = tiny(arch, kind)
        want = logits(whole)
        for part in split(whole, arch):
            assert logits(part) == want, part
        assert logits(split(whole, arch, 4, empty_first=True)[0]) == want, arch
    part = split(tiny("mixtral", "f32"), "q")[2]
    assert logits(part, "--weights", "q4_k_m", "--threads", "1") == logits(tiny("mixtral", "f32"), "--weights", "q4_k_m")
    os.mkdir("folder")
    assert logits(split(whole, "folder/m.with-dots-00001-of-00002", 12)[10]) == want
    one = parts(whole, 1)[0]
    assert logits(put("any name.gguf", one)) == want  # a set of one, and what merging a set leaves: a count of 0
    assert logits(put("merged.gguf", dict(one, keys=dict(one["keys"], **{"split.count": whole_number(0, 2)})))) == want
    unnamed = raw(whole)
    assert logits(put("m-00001-of-00003.gguf", unnamed)) == want  # the name alone says nothing


def the_digest_is_that_of_the_parts_bytes_in_order(_):
    files = split(tiny("mixtral"), "m")
    want = hashlib.sha256(b"".join(read(f) for f in files)).hexdigest()
    source = write("rows.jsonl", rows(3))
    args = ["--max-tokens", "6", "--chat-template", "none"]
    judged = judge(source, "out.jsonl", *args, model=files[0])
    assert judged.code in (0, 3), judged.err
    assert want in run("inspect", "out.jsonl.run", want=0).out
    os.mkdir("moved")
    for f in files:
        shutil.move(f, f.replace("m-", "moved/other-"))
    moved = "moved/other-00003-of-00003.gguf"  # another name and another part: the same model
    again = judge(source, "out.jsonl", *args, model=moved)
    assert again.code == judged.code and "3 rows" in again.err, again.err
    assert "3 of 3 rows judged again" in run("verify", "out.jsonl.run", "--model", moved).out
    changed = read(moved)
    write(moved, changed[:-40] + bytes([changed[-40] ^ 1]) + changed[-39:])
    refused(judge(source, "out.jsonl", *args, model=moved), 1, "other settings: model sha256 was %s, is now " % want)


def the_weights_cache_knows_all_parts(_):
    files = split(tiny("llama"), "m")
    want = hashlib.sha256(b"".join(read(f) for f in files)).hexdigest()
    whole = judge_out(tiny("llama"))
    assert judge_out(files[0], "--weights-cache", "w") == whole
    assert [f for f in os.listdir("w") if f.startswith(want)], os.listdir("w")
    assert judge_out(files[1], "--weights-cache", "w", said="MiB of weights from the cache") == whole
    last = read(files[2])
    write(files[2], last[:-40] + bytes([last[-40] ^ 1]) + last[-39:])
    judge_out(files[0], "--weights-cache", "w", said="MiB of weights repacked")
    assert len(os.listdir("w")) == 2


def judge_out(model, *args, said=""):
    done = judge(write("rows.jsonl", rows(2)), "out.jsonl", "--fresh", "--max-tokens", "8", "--chat-template", "none", *args, model=model)
    assert done.code in (0, 3) and said in done.err, done.err
    return read("out.jsonl")


def memory_counts_the_parts_as_the_whole(_):
    files = split(tiny("llama", "f32"), "m")
    said = []
    for model in (tiny("llama", "f32"), files[1]):
        source = write("rows.jsonl", rows(2))
        done = judge(source, "out.jsonl", "--memory", "8M", "--ctx", "1024", model=model)
        refused(done, 1, "a context of 1024 tokens needs ")
        said.append(done.err)
    assert said[0] == said[1], said


def commands_that_read_a_model_read_its_parts(_):
    files, whole = split(tiny("qwen2", "f32"), "m"), tiny("qwen2", "f32")
    told = run("inspect", files[2], "--tensors", want=0).out
    assert told.startswith("m-00001-of-00003.gguf: GGUF v3, %d tensors in 3 parts\n  m-00001-of-00003.gguf 0." % len(raw(whole)["tensors"])), told
    assert "\n  m-00003-of-00003.gguf 0." in told and told.count("  blk.") == run("inspect", whole, "--tensors", want=0).out.count("  blk.") > 0
    text = write("text.jsonl", [{"text": "Hello"}])
    assert run("tokenize", text, "--model", files[1], want=0).out == run("tokenize", text, "--model", whole, want=0).out
    for kind in ("q8_0", "f32"):
        run("quantize", files[1], "a.gguf", "--type", kind, want=0)
        run("quantize", whole, "b.gguf", "--type", kind, want=0)
        assert read("a.gguf") == read("b.gguf"), kind
    refused(run("quantize", files[0], files[2], "--type", "q8_0"), 2, "m-00003-of-00003.gguf is the model itself")


def hostile(change, code, *message, n=3, source=None):
    """A set after change(contents, paths of the files to be): what opening its first part says."""
    shutil.rmtree("set", ignore_errors=True)
    os.mkdir("set")
    contents = parts(source or tiny("mixtral"), n)
    late = change(contents)
    files = put_parts("set/m", contents)
    if late:
        late(files)
    done = run("inspect", next(f for f in files if os.path.exists(f)))
    refused(done, code, *message)


def keyed(part, **values):
    def change(contents):
        for key, entry in values.items():
            key = key.replace("__", ".")
            if entry is None:
                del contents[part]["keys"][key]
            else:
                contents[part]["keys"][key] = entry
    return change


def what_is_no_set_is_refused(_):
    part = "set/m-0000%d-of-00003.gguf"
    hostile(lambda c: lambda f: os.remove(f[1]), 1, part % 2 + " is missing: part 2 of the 3 that " + part % 1 + " belongs to\n")
    hostile(lambda c: lambda f: os.remove(f[0]), 1, part % 1 + " is missing: part 1 of the 3 that " + part % 2 + " belongs to\n")
    hostile(lambda c: lambda f: write(f[1], b"GGUG"), 1, part % 2 + ": not a GGUF file: it starts with 47 47 55 47")
    hostile(lambda c: lambda f: (os.remove(f[1]), os.mkdir(f[1])), 1, "cannot read " + part % 2 + ": it is a folder")
    hostile(lambda c: lambda f: (os.remove(f[2]), os.mkfifo(f[2])), 1, "cannot read " + part % 3 + ": not a regular file\n")
    hostile(lambda c: lambda f: write(f[2], read(f[2])[:-100]), 1, part % 3 + ": tensor ", "is the file cut off?")
    hostile(lambda c: lambda f: (os.rename(f[1], "x"), os.rename(f[2], f[1]), os.rename("x", f[2])), 1, part % 2 + ": split.no is 2, expected 1 for part 2\n")
    hostile(lambda c: lambda f: (os.remove(f[2]), os.symlink("m-00002-of-00003.gguf", f[2])), 1, part % 3 + ": split.no is 1, expected 2 for part 3\n")
    hostile(lambda c: lambda f: (os.rename(f[0], "x"), os.rename(f[2], f[0]), os.rename("x", f[2])), 1,
            part % 1 + ": part 3 of 3 by its keys (split.no 2, split.count 3), but its name does not end in -00003-of-00003.gguf, so the other parts cannot be found\n")
    hostile(keyed(1, split__count=whole_number(4, 2)), 1, part % 2 + ": split.count is 4, but 3 in " + part % 1 + "\n")
    hostile(keyed(0, split__count=whole_number(4, 2)), 1, part % 1 + ": part 1 of 4 by its keys", "-00001-of-00004.gguf")
    hostile(keyed(1, split__tensors__count=whole_number(24, 5)), 1, part % 2 + ": split.tensors.count is 24, but 23 in " + part % 1 + "\n")
    hostile(keyed(2, split__no=None), 1, part % 3 + ": key split.no is missing\n")
    hostile(keyed(2, split__count=None), 1, part % 3 + ": key split.count is missing\n")
    hostile(keyed(0, split__tensors__count=None), 1, part % 1 + ": key split.tensors.count is missing\n")
    hostile(keyed(0, split__no=None), 1, part % 1 + ": key split.no is missing\n")
    hostile(keyed(0, split__no=whole_number(-1, 5)), 1, part % 1 + ": key split.no: -1, expected 0 to ")
    hostile(keyed(0, split__no=whole_number(2**32 - 1)), 1, part % 1 + ": part 4294967296 of 3 by its keys")
    hostile(keyed(0, split__count=b"\x08\0\0\0" + b"\1\0\0\0\0\0\0\0003"), 1, part % 1 + ": key split.count: type string, expected an integer\n")
    hostile(keyed(1, general__name=b"\x08\0\0\0" + b"\1\0\0\0\0\0\0\0x"), 1,
            part % 2 + ": key general.name has another value than in " + part % 1 + ", so it is a part of another model\n")

    def twice(contents):
        contents[2]["tensors"][0] = contents[0]["tensors"][1]
    hostile(twice, 1, part % 3 + ": tensor " + parts(tiny("mixtral"), 3)[0]["tensors"][1][0] + " is also in " + part % 1 + "\n")
    hostile(lambda c: c[2]["tensors"].pop() and None, 1, part % 1 + ": 22 tensors in all parts, split.tensors.count is 23\n")
    os.rename(split(tiny("mixtral"), "y")[0], "renamed.gguf")
    refused(run("inspect", "renamed.gguf"), 1, "renamed.gguf: part 1 of 3 by its keys (split.no 0, split.count 3), but its name does not end in -00001-of-00003.gguf")
    many = parts(tiny("mixtral"), 1)[0]
    many["keys"]["split.count"] = whole_number(65535, 2)
    refused(run("inspect", put("m-00001-of-65535.gguf", many)), 1, "m-00001-of-65535.gguf: split.count is 65535, the cap is 1024\n")


def keys_that_each_part_repeats_are_no_harm(_):
    contents = parts(tiny("llama"), 3)
    for part in contents[1:]:
        part["keys"] = dict(contents[0]["keys"], **part["keys"])
    contents[1]["keys"]["only.here"] = whole_number(1)
    assert logits(put_parts("m", contents)[0]) == logits(tiny("llama"))


if __name__ == "__main__":
    support.main([any_part_gives_the_bits_of_the_whole_file, the_digest_is_that_of_the_parts_bytes_in_order, the_weights_cache_knows_all_parts,
                  memory_counts_the_parts_as_the_whole, commands_that_read_a_model_read_its_parts, what_is_no_set_is_refused,
                  keys_that_each_part_repeats_are_no_harm])
