#!/usr/bin/env python3
"""What distilabel 1.0 to 1.5 gives the classes that gavel runs: attributes of LLMs and steps, and keywords of generate(), read from the wheels' source.

    pip download --no-deps -d WHEELS distilabel==1.0.3      (and 1.1.1, 1.2.4, 1.3.2, 1.4.2, 1.5.3)
    python3 make_arguments.py WHEELS > arguments.json
"""
import ast
import glob
import json
import os
import sys
import zipfile

CLASSES = ["vLLM", "TransformersLLM", "LlamaCppLLM", "OpenAILLM", "ClientvLLM"]
# Each with its names of earlier versions.
STEPS = {"LoadDataFromHub": ["LoadHubDataset"], "LoadDataFromFileSystem": ["LoadFromFileSystem"], "LoadDataFromDisk": ["LoadFromDisk"],
         "LoadDataFromDicts": [], "PrometheusEval": [], "KeepColumns": [], "GroupColumns": ["CombineColumns"], "CombineOutputs": [], "ExpandColumns": []}


def classes_of(wheel):
    found = {}
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.endswith(".py") and any("/%s" % part in name for part in ("llms/", "mixins/", "models/", "steps/")):
                for c in ast.parse(z.read(name)).body:
                    if isinstance(c, ast.ClassDef):
                        found.setdefault(c.name, c)
    return found


def attributes(found, name, out):
    c = found.get(name)
    if not c:
        return
    for b in c.bases:
        attributes(found, getattr(b, "id", getattr(b, "attr", "")), out)
    for a in c.body:
        if not isinstance(a, ast.AnnAssign) or not isinstance(a.target, ast.Name) or a.target.id.startswith("_") or a.target.id == "model_config":
            continue
        text = ast.unparse(a)
        if "ExcludedField" in text or ("exclude=True" in text and "RuntimeParameter" not in text):  # is in no file
            out.discard(a.target.id)
        else:
            out.add(a.target.id)


def keywords(found, name):
    for f in found[name].body:
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) and f.name in ("generate", "agenerate"):
            return [a.arg for a in f.args.args if a.arg not in ("self", "input", "inputs", "num_generations")]
    return []


def main():
    out = {c: {"attributes": set(), "generation": set()} for c in CLASSES}
    steps = {name: set() for name in STEPS}
    versions = []
    for wheel in sorted(glob.glob(os.path.join(sys.argv[1], "distilabel-*.whl"))):
        versions.append(os.path.basename(wheel).split("-")[1])
        found = classes_of(wheel)
        for c in CLASSES:
            if c in found:
                attributes(found, c, out[c]["attributes"])
                out[c]["generation"].update(keywords(found, c))
        for name, older in STEPS.items():
            for n in [name] + older:
                attributes(found, n, steps[name])
    print(json.dumps({"versions": versions, "classes": {c: {k: sorted(v) for k, v in d.items()} for c, d in out.items()},
                      "steps": {c: sorted(v) for c, v in steps.items()}}, indent=1))


main()
