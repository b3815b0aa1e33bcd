/* Python's repr() of a float, which its JSON, YAML and text outputs share: the fewest digits that read back, an exponent from 1e16 on and
 * below 1e-4, else a plain number with at least ".0"; "inf", "-inf", "nan". */
#ifndef GAVEL_BASE_PYFLOAT_H
#define GAVEL_BASE_PYFLOAT_H

#include "base/str.h"

void py_put_float(buf *out, double v);

#endif
