// SPDX-License-Identifier: Apache-2.0
/* yaml_scalar.c - what a plain scalar means, see yaml.h. */
#include "daemon/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

#define NUMBER_BYTES 64   /* longer ones are text */
#define WHOLE_MAX    1e15 /* a float up to here is printed without exponent */

#define WORD_BYTES 5 /* the longest word */

/* The words of each meaning, between blanks. */
static const char nulls[] = " ~ null Null NULL ";
static const char trues[] = " true True TRUE yes Yes YES y Y on On ON ";
static const char falses[] = " false False FALSE no No NO n N off Off OFF ";
static const char refused[] = " .nan .NaN .NAN .inf .Inf .INF"
			      " +.inf +.Inf +.INF -.inf -.Inf -.INF ";

static bool is_word(const char *list, const char *text, size_t len)
{
	char word[WORD_BYTES + 3] = " ";

	memcpy(word + 1, text, len);
	word[len + 1] = ' ';
	return strstr(list, word);
}

static bool word_read(const char *text, size_t len, json_t **ret)
{
	if (len > WORD_BYTES || memchr(text, ' ', len))
		return false;
	*ret = is_word(nulls, text, len)    ? json_null()
	       : is_word(trues, text, len)  ? json_true()
	       : is_word(falses, text, len) ? json_false()
	                                    : NULL;
	return *ret || is_word(refused, text, len);
}

/* Go's strconv.ParseInt(text, 0, 64): a sign, then 0x, 0o, 0b, 0 or none. */
static bool whole_read(const char *text, json_t **ret)
{
	const bool minus = *text == '-';
	const char *digits = text + (minus || *text == '+');
	unsigned long long n;
	int base = 10;
	char *end;

	if (digits[0] == '0' && digits[1]) {
		const char sign = (char)tolower((unsigned char)digits[1]);

		base = sign == 'x' ? 16 : sign == 'b' ? 2 : 8;
		digits += sign == 'x' || sign == 'b' || sign == 'o' ? 2 : 1;
	}
	/* strtoull would take a sign, blanks or a second 0x of its own. */
	if (!isxdigit((unsigned char)*digits) ||
	    (base == 16 && tolower((unsigned char)digits[1]) == 'x'))
		return false;
	errno = 0;
	n = strtoull(digits, &end, base);
	if (*end || errno || n > (unsigned long long)INT64_MAX + minus)
		return false;
	*ret = json_integer(minus ? (json_int_t)(0 - n) : (json_int_t)n);
	return true;
}

/* ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$ */
static bool is_float(const char *p)
{
	size_t whole, part = 0;

	p += *p == '-' || *p == '+';
	whole = strspn(p, "0123456789");
	p += whole;
	if (*p == '.') {
		part = strspn(++p, "0123456789");
		p += part;
	}
	if (!whole && !part)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		if (!isdigit((unsigned char)*p))
			return false;
		p += strspn(p, "0123456789");
	}
	return !*p;
}

/* Kubernetes turns YAML into JSON text on its way: 80.0 arrives as 80. */
static bool float_read(const char *text, json_t **ret)
{
	double value;

	if (!is_float(text))
		return false;
	value = strtod(text, NULL);
	if (!isfinite(value))
		return false;
	*ret = fabs(value) < WHOLE_MAX && value == (double)(json_int_t)value
	               ? json_integer((json_int_t)value)
	               : json_real(value);
	return true;
}

json_t *yaml_scalar(const char *text, size_t len)
{
	char plain[NUMBER_BYTES + 1] = "";
	json_t *ret = NULL;
	size_t n = 0;

	if (!len)
		return json_null();
	if (word_read(text, len, &ret))
		return ret;
	if (len > NUMBER_BYTES || !strchr("+-.0123456789", text[0]))
		return json_stringn_nocheck(text, len);
	for (size_t i = 0; i < len; i++)
		if (text[i] != '_' || text[0] == '.')
			plain[n++] = text[i];
	plain[n] = '\0';
	if ((text[0] != '.' && whole_read(plain, &ret)) ||
	    float_read(plain, &ret))
		return ret;
	return json_stringn_nocheck(text, len);
}
