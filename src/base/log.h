/* Diagnostics that are not errors (a slow path taken, a setting known to hurt).  Below src/cli nobody prints: messages go to the one
 * sink that the command line sets at start; without a sink they are dropped. */
#ifndef GAVEL_BASE_LOG_H
#define GAVEL_BASE_LOG_H

#include "base/err.h"

typedef enum log_level { LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;
typedef void log_sink(log_level level, const char *msg);

/* Call once before threads start. */
void log_set(log_sink *sink, log_level max_level);
void log_msg(log_level level, const char *fmt, ...) GV_PRINTF(2, 3);

#endif
