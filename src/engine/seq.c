/* A sequence's own next token: sampling, end of turn, and the forced ending as a small state machine.
 *
 *   FREE --trigger seen, gap appended--> CHOICE --> DONE
 *   FREE --would end, or room for the ending only; lead and gap appended--> CHOICE --> DONE
 *
 * Forced tokens are appended without looking at logits, all at once; the engine then computes them like a chunk of prompt. */
#include "engine/engine_internal.h"

#include "base/mem.h"

#include <stdio.h>

int32_t seq_ending_tokens(const engine_ending *e) {
    const int32_t rest = (int32_t)strlen(e->trigger); /* most tokens that replace a token behind a half-written trigger */
    return (e->n_lead > rest ? e->n_lead : rest) + e->n_gap + 1;
}

void seq_end(seq *s, engine_finish finish, const char *message) {
    s->phase = SEQ_DONE;
    s->result.finish = finish;
    snprintf(s->result.message, sizeof s->result.message, "%s", message ? message : "");
}

static void append(seq *s, int32_t id) {
    s->tokens[s->n_tokens++] = id;
}

static void append_all(seq *s, const int32_t *id, int n) {
    for (int i = 0; i < n; i++) append(s, id[i]);
}

/* Forces the ending from the start: lead, gap, then a choice. */
static void force_ending(seq *s) {
    append_all(s, s->ending.lead, s->ending.n_lead);
    append_all(s, s->ending.gap, s->ending.n_gap);
    s->result.forced = true;
    s->phase = SEQ_CHOICE;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool all_space(sv text) {
    for (size_t i = 0; i < text.n; i++)
        if (!is_space(text.p[i])) return false;
    return true;
}

trigger_rests *seq_make_rests(const char *trigger, const tok *t) {
    trigger_rests *r = gv_xcalloc(1, sizeof *r);
    const sv whole = sv_of(trigger);
    memcpy(r->trigger, whole.p, whole.n);
    for (size_t k = 0; k < whole.n; k++) {
        gv_err err = GV_ERR_INIT;
        ids rest = {0};
        /* Bytes that cannot be encoded, or in more ids than the ending has room for, are left out: the choice follows all the same. */
        if (tok_encode_continue(t, sv_sub(whole, k, whole.n), &rest, &err) && rest.n <= whole.n) {
            memcpy(r->id[k], rest.v, rest.n * sizeof *rest.v);
            r->n[k] = (int)rest.n;
        }
        ids_fini(&rest);
    }
    return r;
}

/* The last token completed the trigger; `after` is what it holds beyond. */
static void trigger_seen(seq *s, sv after, sv before) {
    if (after.n == 0) {
        append_all(s, s->ending.gap, s->ending.n_gap);
    } else if (all_space(after)) {
        s->use_bare = true;
    } else {
        /* "[RESULT]:" in one token: the token gives way to the trigger's own rest. It has no K/V yet. */
        const sv trigger = sv_of(s->ending.trigger);
        size_t written = before.n < trigger.n ? before.n : trigger.n - 1;
        while (written > 0 && !sv_ends(before, sv_sub(trigger, 0, written))) written--;
        s->n_tokens--;
        append_all(s, s->rests->id[written], s->rests->n[written]);
        append_all(s, s->ending.gap, s->ending.n_gap);
    }
    s->phase = SEQ_CHOICE;
}

/* Adds the last token's bytes to the tail and looks for the trigger across tokens.  The tail is shorter than the trigger, so a trigger that
 * begins in it ends within `joint`; one that begins later is in the token's own bytes. */
static void watch_trigger(seq *s, const tok *t) {
    const sv trigger = sv_of(s->ending.trigger), bytes = tok_token_bytes(t, s->tokens[s->n_tokens - 1]), tail = {s->tail, s->n_tail};
    const sv head = sv_sub(bytes, 0, trigger.n - 1);
    char joint[2 * sizeof s->ending.trigger];
    memcpy(joint, tail.p, tail.n);
    if (head.n) memcpy(joint + tail.n, head.p, head.n);
    size_t at = sv_find((sv){joint, tail.n + head.n}, trigger, 0); /* counted from the tail's begin */
    if (at == SIZE_MAX) {
        at = sv_find(bytes, trigger, 0);
        if (at != SIZE_MAX) at += tail.n;
    }
    if (at != SIZE_MAX) {
        trigger_seen(s, sv_sub(bytes, at + trigger.n - tail.n, bytes.n), tail);
        return;
    }
    if (bytes.n >= trigger.n - 1) {
        s->n_tail = trigger.n - 1;
        memcpy(s->tail, bytes.p + bytes.n - s->n_tail, s->n_tail);
        return;
    }
    const size_t n = tail.n + head.n, keep = n < trigger.n - 1 ? n : trigger.n - 1;
    memcpy(s->tail, joint + n - keep, keep);
    s->n_tail = keep;
}

static void choose(seq *s, sampler *smp, const float *logits) {
    const int32_t *choices = s->use_bare ? s->ending.bare : s->ending.choice, n_output = s->n_tokens - s->n_prompt;
    int index = 0;
    if (!sample_choice(smp, logits, &s->params, s->tokens, s->n_prompt, s->tokens + s->n_prompt, n_output, choices, s->ending.n_choices,
                       &index) ||
        (s->want_logprobs && !sample_logprobs(smp, logits, choices, s->ending.n_choices, s->result.choice_logprob))) {
        seq_end(s, ENGINE_ERROR, "a logit is not finite");
        return;
    }
    append(s, choices[index]);
    s->result.choice = index;
    seq_end(s, ENGINE_STOP, NULL);
}

/* Does the last token complete a stop text?  What stands before it matters for less than a stop's length. */
static bool stop_seen(const seq *s, const tok *t) {
    char joint[2 * RULES_MAX_STOP_BYTES];
    const sample_rules *r = &s->rules->r;
    const sv bytes = tok_token_bytes(t, s->tokens[s->n_tokens - 1]), head = sv_sub(bytes, 0, RULES_MAX_STOP_BYTES - 1);
    size_t room = RULES_MAX_STOP_BYTES, end;
    for (int32_t i = s->n_tokens - 2; i >= s->n_prompt && room > 0; i--) {
        const sv before = tok_token_bytes(t, s->tokens[i]);
        const size_t n = before.n < room ? before.n : room;
        if (n) memcpy(joint + room - n, before.p + before.n - n, n);
        room -= n;
    }
    const size_t n_before = RULES_MAX_STOP_BYTES - room;
    if (head.n) memcpy(joint + RULES_MAX_STOP_BYTES, head.p, head.n);
    return rules_find_stop(r, (sv){joint + room, n_before + head.n}, n_before, &end) != SIZE_MAX ||
           rules_find_stop(r, bytes, 0, &end) != SIZE_MAX;
}

static bool is_stop_id(const seq *s, int32_t id) {
    for (int i = 0; s->rules && i < s->rules->r.n_stop_ids; i++)
        if (s->rules->r.stop_id[i] == id) return true;
    return false;
}

void seq_advance(seq *s, sampler *smp, const tok *t, const float *logits) {
    if (s->phase == SEQ_CHOICE) {
        choose(s, smp, logits);
        return;
    }
    int32_t id = 0;
    if (s->rules) {
        const bool early = s->n_tokens - s->n_prompt < s->rules->r.min_tokens;
        s->params.barred = s->rules->barred;
        s->params.n_barred = early ? s->rules->n_barred : 0;
    }
    if (!sample_token(smp, logits, &s->params, s->tokens, s->n_prompt, s->tokens + s->n_prompt, s->n_tokens - s->n_prompt, &id)) {
        seq_end(s, ENGINE_ERROR, "a logit is not finite");
        return;
    }
    const int32_t reserve = s->has_ending ? seq_ending_tokens(&s->ending) : 0;
    if ((tok_is_eog(t, id) || is_stop_id(s, id)) && !s->ignore_eog) {
        if (s->has_ending)
            force_ending(s);
        else
            seq_end(s, ENGINE_STOP, NULL);
        return;
    }
    if (s->has_ending && s->n_tokens + 1 + reserve > s->limit) { /* this token would eat into the ending's room */
        force_ending(s);
        return;
    }
    append(s, id);
    if (s->has_ending)
        watch_trigger(s, t);
    else if (s->rules && s->n_tokens - s->n_prompt >= s->rules->r.min_tokens && stop_seen(s, t))
        seq_end(s, ENGINE_STOP, NULL);
    else if (s->n_tokens == s->limit)
        seq_end(s, ENGINE_LENGTH, NULL);
}
