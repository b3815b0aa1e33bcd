/* What the program says on standard error: sentences for people, JSON lines with --json.  The only place that writes there. */
#ifndef GAVEL_CLI_TALK_H
#define GAVEL_CLI_TALK_H

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

/* From now on every message is a JSON object on a line of its own: {"event": ..., "message": ...}. */
void talk_in_json(void);
/* "gavel: MESSAGE", or {"event":EVENT,"message":MESSAGE}. */
void talk_say(const char *event, const char *fmt, ...) GV_PRINTF(2, 3);
/* One line as it is: a line of progress, a JSON object. */
void talk_line(sv text);
/* The same without an end of line: an answer follows. */
void talk_ask(sv text);
/* Shows text as the terminal's last line in place of what stood there; it goes away before anything else is said. */
void talk_bar(sv text);
void talk_clear_bar(void);
/* The sink of log_msg. */
void talk_log(log_level level, const char *msg);

#endif
