/* See pyfloat.h.  Source of the format: CPython's Python/pystrtod.c, float_repr_style short, format 'r'.  Stateless. */
#include "base/pyfloat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The fewest decimal digits that read back as v >= 0, as "d.ddde+XX" in out.  Of a power of two the interval that reads back is wider
 * above than below, so the digits wanted may be one above the correctly rounded ones. */
static void shortest_digits(double v, char out[40]) {
    for (int precision = 0; precision < 17; precision++) {
        snprintf(out, 40, "%.*e", precision, v);
        if (strtod(out, NULL) == v) return;
        char up[40];
        memcpy(up, out, 40);
        char *digit = strchr(up, 'e') - 1;
        while (digit > up && *digit == '9') *digit-- = '0';
        if (digit < up || *digit == '9' || *digit == '.') continue; /* a carry into the point: rounded values of fewer digits were tried */
        ++*digit;
        if (strtod(up, NULL) != v) continue;
        memcpy(out, up, 40);
        return;
    }
}

void py_put_float(buf *out, double v) {
    if (!isfinite(v)) {
        buf_add_str(out, isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return;
    }
    char digits[40] = "";
    if (signbit(v)) buf_add_char(out, '-');
    shortest_digits(fabs(v), digits);
    const char *e = strchr(digits, 'e');
    int exponent = atoi(e + 1);
    char mantissa[24];
    int n = 0;
    for (const char *p = digits; p < e; p++)
        if (*p >= '0' && *p <= '9') mantissa[n++] = *p;
    if (exponent < -4 || exponent >= 16) {
        buf_add(out, mantissa, 1);
        if (n > 1) {
            buf_add_char(out, '.');
            buf_add(out, mantissa + 1, (size_t)(n - 1));
        }
        buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        buf_add_str(out, "0.");
        for (int i = -1; i > exponent; i--) buf_add_char(out, '0');
        buf_add(out, mantissa, (size_t)n);
        return;
    }
    for (int i = 0; i <= exponent; i++) buf_add_char(out, i < n ? mantissa[i] : '0');
    buf_add_char(out, '.');
    if (n > exponent + 1)
        buf_add(out, mantissa + exponent + 1, (size_t)(n - exponent - 1));
    else
        buf_add_char(out, '0');
}
