/* Tokenizers: text to token ids and back, byte-exact with the reference implementations.
 *
 * Two families: SentencePiece BPE ("spm": byte fallback, dummy prefix; Llama 1/2, Mistral, Mixtral) and byte-level BPE ("bpe": gpt2,
 * smollm, llama3 and qwen2 pre-tokenizers, qwen2 with NFC).  Sources: a GGUF's vocabulary, tokenizer.model (protobuf), tokenizer.json.
 * User text never becomes a special token: only text the caller marks as trusted is searched for CONTROL tokens; USER_DEFINED tokens
 * always match.  A tok is immutable after loading; any number of threads may use it.  Linear time in the text but for BPE merges,
 * which are O(n log n) a word. */
#ifndef GAVEL_TOK_TOK_H
#define GAVEL_TOK_TOK_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "modelfile/tensors.h"

typedef struct tok tok;

/* PATH: tokenizer.model, tokenizer.json, a GGUF (tensors not needed), or a folder with these (tokenizer.model wins; tokenizer_config.json
 * beside them gives BOS, EOS and the chat template). NULL on failure. */
tok *tok_open(const char *path, gv_err *err) GV_MUST_USE;
tok *tok_from_gguf(const gguf *g, gv_err *err) GV_MUST_USE;
/* That of a model: from the GGUF, or from what stands in the folder. */
tok *tok_from_tensors(const tensors *model, gv_err *err) GV_MUST_USE;
/* The same from bytes (fuzzing, tests): kind is "model" or "json". */
tok *tok_from_bytes(sv bytes, const char *kind, gv_err *err) GV_MUST_USE;
/* Writes everything as a GGUF's tokenizer.* keys, filled up to n_vocab tokens.  GV_FORMAT if
 * tok_n_text has more. */
bool tok_put_keys(const tok *t, int32_t n_vocab, gguf_out *o, gv_err *err) GV_MUST_USE;
void tok_free(tok *t);

typedef struct ids { /* growable token ids */
    int32_t *v;
    size_t n, cap;
} ids;
void ids_add(ids *a, int32_t id);
void ids_fini(ids *a);

/* Appends the ids of text.  No BOS or EOS is added.  special: control tokens written in text are parsed (text of ours, a chat template);
 * otherwise they are text.  Malformed UTF-8: spm as sentencepiece (U+FFFD for each bad byte), bpe as after Python's errors="replace". */
bool tok_encode(const tok *t, sv text, bool special, ids *out, gv_err *err) GV_MUST_USE;

/* A prompt in segments, as a chat template renders it: special tokens are parsed in trusted segments only, but pre-tokenisation and
 * merges run over the joined text (so that a boundary between template and user text changes no token), as a reference tokenizer given
 * the joined text with only the trusted special tokens recognised. */
typedef struct tok_segment {
    sv text;
    bool trusted;
} tok_segment;
bool tok_encode_segments(const tok *t, const tok_segment *seg, size_t n, ids *out, gv_err *err) GV_MUST_USE;

/* tok_encode_segments, with BOS: exactly one at the front if tok_adds_bos or if the trusted text itself begins with the BOS token (repeated
 * leading BOS of the trusted text are one); none otherwise.  The one way a prompt becomes ids. */
bool tok_encode_prompt(const tok *t, const tok_segment *seg, size_t n, ids *out, gv_err *err) GV_MUST_USE;

/* As tok_encode(special=false), but as a continuation in the middle of a text: no dummy prefix (spm). */
bool tok_encode_continue(const tok *t, sv text, ids *out, gv_err *err) GV_MUST_USE;

/* The bytes of a sequence (special tokens included when show_special), as the reference's decoder joins them: spm drops the one leading
 * space that the dummy prefix added when at_start.  tok_decode_text additionally replaces malformed UTF-8 by U+FFFD. */
void tok_decode(const tok *t, const int32_t *id, size_t n, bool show_special, bool at_start, buf *out);
void tok_decode_text(const tok *t, const int32_t *id, size_t n, bool show_special, bool at_start, buf *out);
/* The text of a whole sequence exactly as the reference library's decode prints it: spm as sentencepiece (control tokens hidden, <unk> as
 * its surface, one U+FFFD for each malformed byte of a run of byte tokens), bpe as tokenizers with special tokens shown. `gavel tokenize
 * --decode` prints this; its --hex prints tok_decode(show_special, at_start). */
void tok_decode_reference(const tok *t, const int32_t *id, size_t n, buf *out);
/* Appends the chat template of a tokenizer_config.json: its text, or of several by name the one called "default"; GV_USAGE with their names if none is;
 * nothing if there is none at all. */
bool tok_config_template(const json_value *config, buf *out, gv_err *err) GV_MUST_USE;
/* The raw bytes one token adds in the middle of a text (empty for control tokens); borrowed. */
sv tok_token_bytes(const tok *t, int32_t id);

int32_t tok_n_vocab(const tok *t); /* ids 0..n-1, padding included */
/* Ids that text can become: the control tokens at the end of the vocabulary (such as a <pad> that a fine-tune added) do not count.  A model has at
 * least as many rows. */
int32_t tok_n_text(const tok *t);
int32_t tok_bos(const tok *t); /* -1 if there is none */
int32_t tok_eos(const tok *t); /* -1 if there is none */
/* True if the model's convention puts BOS in front of every prompt (add_bos_token; default as the family's: spm yes, bpe no, unless the
 * post-processor of tokenizer.json says otherwise). */
bool tok_adds_bos(const tok *t);
/* Ends a turn: EOS, EOT (<|im_end|>, <|eot_id|>, <|endoftext|> and what metadata names). */
bool tok_is_eog(const tok *t, int32_t id);
bool tok_is_control(const tok *t, int32_t id);
bool tok_is_padding(const tok *t, int32_t id); /* UNUSED tokens: never sampled */
/* Name as in the vocabulary ("<|im_end|>", "▁the"); borrowed. */
sv tok_piece(const tok *t, int32_t id);
/* Id of a vocabulary entry by its exact name, or -1. */
int32_t tok_find(const tok *t, sv piece);
/* The model's own chat template (Jinja), empty if it has none, or none called "default"; borrowed. */
sv tok_chat_template(const tok *t);
/* The one of that name; empty if there is none; borrowed. */
sv tok_named_template(const tok *t, sv name);
/* "default, rag"; nothing if the model has none. */
void tok_put_template_names(const tok *t, buf *out);
/* "tokenizer_config.json", "the GGUF"; "" without templates. */
const char *tok_templates_from(const tok *t);
const char *tok_kind(const tok *t); /* "spm", "gpt2", "smollm", "llama3", "qwen2" */
/* SHA-256 over everything that decides ids (pieces, scores, types, merges, pre-tokenizer, flags), hex. */
const char *tok_hash(const tok *t);

#endif
