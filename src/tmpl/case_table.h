/* Multi-character case mappings; see case_table.c. */
#ifndef GAVEL_TMPL_CASE_TABLE_H
#define GAVEL_TMPL_CASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct case_special {
    uint16_t c, upper[3], title[3];
} case_special;

extern const case_special case_specials[];
extern const size_t n_case_specials;

#endif
