"""Goldens of the gpt2 pre-tokenizer, which no model of the suite has: the small qwen2 vocabulary behind GPT-2's ByteLevel pipeline.

make_gpt2_small.py, in this folder; needs tokenizers==0.22.2.  Writes gpt2/tokenizer.json and gpt2_small.jsonl (texts of qwen2_small.jsonl).
"""
import json
import random

from tokenizers import Tokenizer

d = json.load(open('qwen2/tokenizer.json'))
d['normalizer'] = None
d['pre_tokenizer'] = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
json.dump(d, open('gpt2/tokenizer.json', 'w'), ensure_ascii=False, separators=(',', ':'))
tok = Tokenizer.from_file('gpt2/tokenizer.json')
n = tok.get_vocab_size()
records = [json.loads(line) for line in open('qwen2_small.jsonl')]
out = [{'kind': 'head', 'tokenizer': 'gpt2_small', 'vocab': n, 'reference': 'tokenizers 0.22.2'}]


def ids(text, special):
    tok.encode_special_tokens = not special
    return tok.encode(text, add_special_tokens=False).ids


for r in records:
    if r['kind'] == 'encode':
        o = {'kind': 'encode', 'cat': r['cat'], 'text': r['text'], 'ids': ids(r['text'], False)}
        if ids(r['text'], True) != o['ids']:
            o['special'] = ids(r['text'], True)
        if tok.decode(o['ids'], skip_special_tokens=False) != r['text']:
            o['decoded'] = tok.decode(o['ids'], skip_special_tokens=False)
        out.append(o)
    elif r['kind'] == 'decode' and all(i < n for i in r['ids']):
        assert tok.decode(r['ids'], skip_special_tokens=False) == r['text']
        out.append({k: r[k] for k in ('kind', 'ids', 'text', 'hex')})
    elif r['kind'] == 'encode_bytes':
        out.append({'kind': 'encode_bytes', 'hex': r['hex'], 'ids': ids(bytes.fromhex(r['hex']).decode('utf-8', 'replace'), False)})
with open('gpt2_small.jsonl', 'w') as f:
    for r in out:
        f.write(json.dumps(r, separators=(',', ':')) + '\n')
