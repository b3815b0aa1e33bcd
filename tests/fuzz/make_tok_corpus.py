"""Writes the seed corpora of fuzz_tok_load, fuzz_tok_folder and fuzz_tok_encode (run in tests/fuzz; standard library only)."""
import json
import os
import struct

SPECIALS = ['<unk>', '<s>', '</s>']
BYTES = ['<0x%02X>' % b for b in range(256)]
PIECES = ['\u2581', 'a', 'b', 'e', 'l', 'o', 'ab', '\u2581a', 'aa', 'aaaa', 'll', 'llo']


def alphabet():
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    rest = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(256 + rest.index(b)) for b in range(256)]


BPE = alphabet() + ['ll', 'llo', 'aa', '\u0120w', '<|im_end|>', '<tool>']
MERGES = ['l l', 'll o', 'a a', '\u0120 w']


def varint(v):
    out = b''
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(n, b):
    return varint(n << 3 | 2) + varint(len(b)) + b


def model():
    out = b''
    for i, p in enumerate(SPECIALS + BYTES + PIECES):
        kind = 2 if i == 0 else 3 if i < 3 else 6 if i < 259 else 1
        out += field(1, field(1, p.encode()) + struct.pack('<Bf', 0x15, -i) + (b'\x18' + bytes([kind]) if kind != 1 else b''))
    out += field(2, b'\x18\x02' + varint(35 << 3) + b'\x01') + field(3, b'\x18\x01\x20\x00')
    return out


def gguf(kv):
    def s(t):
        return struct.pack('<Q', len(t.encode())) + t.encode()

    out = struct.pack('<4sIQQ', b'GGUF', 3, 0, len(kv))
    for k, v in kv.items():
        out += s(k)
        if isinstance(v, bool):
            out += struct.pack('<IB', 7, v)
        elif isinstance(v, int):
            out += struct.pack('<II', 4, v)
        elif isinstance(v, str):
            out += struct.pack('<I', 8) + s(v)
        elif isinstance(v[0], str):
            out += struct.pack('<IIQ', 9, 8, len(v)) + b''.join(s(t) for t in v)
        else:
            kind, letter = (5, 'i') if isinstance(v[0], int) else (6, 'f')
            out += struct.pack('<IIQ', 9, kind, len(v)) + struct.pack('<%d%s' % (len(v), letter), *v)
    return out


def put(folder, name, data):
    os.makedirs('corpus/' + folder, exist_ok=True)
    open('corpus/%s/%s' % (folder, name), 'wb').write(data)


def spm_json():
    vocab = {p: i for i, p in enumerate(SPECIALS + BYTES + PIECES)}
    return {'added_tokens': [{'id': i, 'content': p, 'special': True} for i, p in enumerate(SPECIALS)],
            'normalizer': {'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': '\u2581'},
                                                              {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'}]},
            'pre_tokenizer': None, 'post_processor': None,
            'decoder': {'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '},
                                                         {'type': 'ByteFallback'}, {'type': 'Fuse'},
                                                         {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]},
            'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': True, 'byte_fallback': True, 'vocab': vocab,
                      'merges': ['a b', '\u2581 a', 'a a', 'aa aa', 'l l', 'll o']}}


def bpe_json():
    n = len(BPE)
    return {'added_tokens': [{'id': n - 2, 'content': '<|im_end|>', 'special': True}, {'id': n - 1, 'content': '<tool>', 'special': False}],
            'normalizer': {'type': 'NFC'}, 'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': False, 'use_regex': True},
            'post_processor': {'type': 'TemplateProcessing', 'single': [{'SpecialToken': {'id': '<|im_end|>', 'type_id': 0}},
                                                                       {'Sequence': {'id': 'A', 'type_id': 0}}]},
            'decoder': {'type': 'ByteLevel'},
            'model': {'vocab': {p: i for i, p in enumerate(BPE[:-2])}, 'merges': [m.split(' ') for m in MERGES], 'ignore_merges': True}}


def dump(o):
    return json.dumps(o, ensure_ascii=False, separators=(',', ':')).encode()


put('fuzz_tok_load', 'model', b'\x00' + model())
put('fuzz_tok_load', 'spm.json', b'\x01' + dump(spm_json()))
put('fuzz_tok_load', 'bpe.json', b'\x01' + dump(bpe_json()))
names = SPECIALS + BYTES + PIECES


def folder(name, tokenizer, config=None, added=None, generation=None, jinja=b''):
    parts = [dump(p) if p is not None else b'' for p in (config, added, generation)] + [jinja, tokenizer]
    put('fuzz_tok_folder', name, b'\0'.join(parts))


AFTER = len(SPECIALS + BYTES + PIECES)
TEMPLATE = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
folder('plain', b'\0' + model())
folder('llama2', b'\0' + model(), {'bos_token': '<s>', 'eos_token': {'content': '</s>'}, 'add_bos_token': True, 'chat_template': TEMPLATE},
       {'<pad>': AFTER}, {'eos_token_id': 2})
folder('decoder', b'\0' + model(), {'added_tokens_decoder': {str(AFTER): {'content': '<|im_end|>', 'special': True},
                                                            '1': {'content': '<s>', 'special': True}}}, None, {'eos_token_id': [2, AFTER]})
folder('named', b'\1' + dump(spm_json()), {'chat_template': [{'name': 'default', 'template': TEMPLATE}, {'name': 'tool_use', 'template': 'x'}]})
folder('jinja', b'\1' + dump(bpe_json()), {'eos_token': '<|im_end|>'}, None, {'eos_token_id': len(BPE) - 2}, TEMPLATE.encode())
folder('hole', b'\0' + model(), None, {'<far>': AFTER + 7})
folder('other', b'\0' + model(), {'added_tokens_decoder': {'1': {'content': '<t>'}}})
put('fuzz_tok_load', 'spm.gguf', b'\x02' + gguf({
    'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.tokens': names, 'tokenizer.ggml.scores': [-float(i) for i in range(len(names))],
    'tokenizer.ggml.token_type': [2, 3, 3] + [6] * 256 + [1] * len(PIECES), 'tokenizer.ggml.bos_token_id': 1, 'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.add_bos_token': True, 'tokenizer.chat_template': '{{ bos_token }}'}))
put('fuzz_tok_load', 'templates.gguf', b'\x02' + gguf({
    'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.tokens': names, 'tokenizer.ggml.scores': [-float(i) for i in range(len(names))],
    'tokenizer.ggml.token_type': [2, 3, 3] + [6] * 256 + [1] * len(PIECES), 'tokenizer.chat_template.rag': '{{ rag }}', 'tokenizer.chat_template.x': '',
    'tokenizer.chat_templates': ['rag', 'x']}))
for name, value in (('text', '{{ a }}'), ('list', [{'name': 'default', 'template': 'd'}, {'name': 'a b', 'template': 'r'}, {'name': 'a_b', 'template': 's'}]),
                    ('object', {'rag': 'r', 'default': ''}), ('number', 7)):
    put('fuzz_tok_load', 'templates-' + name, b'\x03' + dump(value))
for pre in ('gpt-2', 'smollm', 'llama-bpe', 'qwen2'):
    kv = {'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': pre, 'tokenizer.ggml.tokens': BPE,
          'tokenizer.ggml.token_type': [1] * (len(BPE) - 2) + [3, 4], 'tokenizer.ggml.merges': MERGES, 'tokenizer.ggml.bos_token_id': len(BPE) - 2,
          'tokenizer.ggml.eos_token_id': len(BPE) - 2}
    put('fuzz_tok_load', pre + '.gguf', b'\x02' + gguf(kv))
TEXTS = ['Hello, world! It\'s 12 o\'clock.', '<s>[INST] Hi </s><|im_start|>user\n<|im_end|><|eot_id|><tool_call>', '  a \n\n b\t\r\n   ',
         '\u4f60\u597d e\u0301\u0323 \u1112\u1161\u11ab \U0001f600\u200d\U0001f4bb', '\u2581\u2581a <0x0A>', "'S 'll 'RE '\u017f"]
for which in range(7):
    for i, t in enumerate(TEXTS):
        put('fuzz_tok_encode', '%d-%d' % (which, i), bytes([which, 37 * i & 255]) + t.encode())
    put('fuzz_tok_encode', '%d-bytes' % which, bytes([which, 255]) + b'a\xff\xc3\xe2\x82 \xf0\x9f\x98\x80\xed\xa0\x80 ' + b'ab' * 40)
