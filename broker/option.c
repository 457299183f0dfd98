/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/option.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/num.h"

int option_error(struct err *e, const char *option, const char *key,
		 const char *value, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (key)
		return err_set(e, -EINVAL, "%s %s=%s: %s", option, key, value,
			       text);
	return err_set(e, -EINVAL, "%s %s: %s", option, value, text);
}

int option_u32(const char *text, uint32_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end,
		     text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16
									  : 10);
	if (errno || *end || v > UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)v;
	return 0;
}

int option_size(const char *text, uint64_t *ret)
{
	unsigned long long v;
	uint64_t unit = 1;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	switch (*end) {
	case 'K':
		unit = KIB;
		end++;
		break;
	case 'M':
		unit = MIB;
		end++;
		break;
	case 'G':
		unit = GIB;
		end++;
		break;
	default:
		break;
	}
	if (*end || !mul_ok(v, unit, ret))
		return -EINVAL;
	return 0;
}

int option_bool(const char *text, bool *ret)
{
	if (!strcmp(text, "on") || !strcmp(text, "true"))
		*ret = true;
	else if (!strcmp(text, "off") || !strcmp(text, "false"))
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

const char *option_size_text(uint64_t size, char ret[OPTION_SIZE_TEXT])
{
	static const struct {
		uint64_t unit;
		const char *suffix;
	} units[] = {{GIB, "G"}, {MIB, "M"}, {KIB, "K"}, {1, ""}};
	size_t i = size ? 0 : ARRAY_SIZE(units) - 1;

	while (size % units[i].unit)
		i++;
	snprintf(ret, OPTION_SIZE_TEXT, "%llu%s",
		 (unsigned long long)(size / units[i].unit), units[i].suffix);
	return ret;
}

static int option_mac(const char *text, uint8_t *ret)
{
	unsigned int v[6];
	int used = 0;

	if (strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2],
		   &v[3], &v[4], &v[5], &used) != 6 ||
	    used != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)v[i];
	return 0;
}

/* The end of the element at @p: a comma outside brackets and quotes. */
static const char *option_element_end(const char *p)
{
	int depth = 0;
	bool quoted = false;

	for (; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (*p == '[')
			depth++;
		else if (*p == ']')
			depth--;
		else if (*p == ',' && depth == 0)
			return p;
		if (depth < 0)
			return NULL;
	}
	return depth || quoted ? NULL : p;
}

/* "boot, max, ...": the keys that a user may know. */
static void option_names(const struct option_key *keys, size_t num_keys,
			 char *ret, size_t len)
{
	size_t n = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < num_keys; i++) {
		int m;

		if (keys[i].name[0] == '_')
			continue;
		m = snprintf(ret + n, len - n, "%s%s", n ? ", " : "",
			     keys[i].name);
		if (m < 0 || (size_t)m >= len - n)
			break;
		n += (size_t)m;
	}
}

/* A copy of [p, end) without surrounding quotes. */
static char *option_copy(const char *p, const char *end)
{
	if (end - p >= 2 && *p == '"' && end[-1] == '"') {
		p++;
		end--;
	}
	return strndup(p, (size_t)(end - p));
}

int option_each(const char *list,
		int (*cb)(const char *element, void *arg, struct err *e),
		void *arg, struct err *e)
{
	size_t len = strlen(list);
	auto_free char *inner = NULL;
	const char *p;

	if (len >= 2 && list[0] == '[' && list[len - 1] == ']')
		inner = strndup(list + 1, len - 2);
	else
		inner = strdup(list);
	if (!inner)
		return err_set(e, -ENOMEM, "no memory for an option");
	for (p = inner; *p;) {
		const char *end = option_element_end(p);
		auto_free char *element = end ? option_copy(p, end) : NULL;
		int r;

		if (!end)
			return err_set(e, -EINVAL,
				       "%s: brackets or quotes don't match",
				       list);
		if (!element)
			return err_set(e, -ENOMEM, "no memory for an option");
		r = cb(element, arg, e);
		if (r < 0)
			return r;
		p = *end ? end + 1 : end;
	}
	return 0;
}

int option_first(const char *option, const char *text, char **ret_first,
		 const char **ret_rest, struct err *e)
{
	const char *end = option_element_end(text);

	if (!end)
		return err_set(e, -EINVAL,
			       "%s %s: brackets or quotes don't match", option,
			       text);
	*ret_first = strndup(text, (size_t)(end - text));
	if (!*ret_first)
		return err_set(e, -ENOMEM, "no memory for %s", option);
	*ret_rest = *end ? end + 1 : NULL;
	return 0;
}

char *option_unquote(const char *text)
{
	return option_copy(text, text + strlen(text));
}

static int option_store_number(const struct option_key *k, const char *option,
			       const char *value, uint64_t v, struct err *e)
{
	if ((k->min || k->max) && (v < k->min || v > k->max))
		return option_error(e, option, k->name, value,
				    "give a value from %llu to %llu",
				    (unsigned long long)k->min,
				    (unsigned long long)k->max);
	if (k->type == OPTION_U32)
		*(uint32_t *)k->dst = (uint32_t)v;
	else
		*(uint64_t *)k->dst = v;
	return 0;
}

static int option_store_text(const struct option_key *k, const char *option,
			     const char *value, struct err *e)
{
	size_t len = strlen(value);
	char **dst = k->dst;

	if (len < k->min || (k->max && len > k->max))
		return option_error(e, option, k->name, value,
				    "give %llu to %llu characters",
				    (unsigned long long)k->min,
				    (unsigned long long)k->max);
	free(*dst);
	*dst = strdup(value);
	return *dst ? 0 : err_set(e, -ENOMEM, "no memory for %s", option);
}

static int option_store(const struct option_key *k, const char *option,
			const char *value, struct err *e)
{
	uint64_t size;
	uint32_t num;

	switch (k->type) {
	case OPTION_BOOL:
		if (option_bool(value, k->dst) < 0)
			return option_error(e, option, k->name, value,
					    "give on, off, true or false");
		return 0;
	case OPTION_U32:
		if (option_u32(value, &num) < 0)
			return option_error(e, option, k->name, value,
					    "give a whole number from %llu to "
					    "%llu",
					    (unsigned long long)k->min,
					    (unsigned long long)k->max);
		return option_store_number(k, option, value, num, e);
	case OPTION_SIZE:
		if (option_size(value, &size) < 0)
			return option_error(e, option, k->name, value,
					    "give bytes, or a number with K, "
					    "M or G, such as 512M");
		return option_store_number(k, option, value, size, e);
	case OPTION_TEXT:
		return option_store_text(k, option, value, e);
	case OPTION_MAC:
		if (option_mac(value, k->dst) < 0)
			return option_error(e, option, k->name, value,
					    "give six bytes such as "
					    "52:54:00:12:34:56");
		return 0;
	default:
		return k->parse(k->dst, option, k->name, value, e);
	}
}

static int option_pair(const char *option, const char *pair,
		       const struct option_key *keys, size_t num_keys,
		       bool *given, struct err *e)
{
	const char *eq = strchr(pair, '=');
	char names[ERR_TEXT_MAX / 2];
	auto_free char *key = NULL;
	auto_free char *value = NULL;

	option_names(keys, num_keys, names, sizeof(names));
	if (!eq)
		return err_set(e, -EINVAL, "%s %s: give key=value; keys are %s",
			       option, *pair ? pair : "\"\"", names);
	key = strndup(pair, (size_t)(eq - pair));
	value = option_copy(eq + 1, eq + 1 + strlen(eq + 1));
	if (!key || !value)
		return err_set(e, -ENOMEM, "no memory for %s", option);
	for (size_t i = 0; i < num_keys; i++) {
		if (strcmp(keys[i].name, key))
			continue;
		if (given[i])
			return option_error(e, option, key, value,
					    "the key was given already");
		given[i] = true;
		if (keys[i].seen)
			*keys[i].seen = true;
		return option_store(&keys[i], option, value, e);
	}
	return err_set(e, -EINVAL, "%s: no key \"%s\"; there are %s", option,
		       key, names);
}

#define OPTION_KEYS_MAX 32

int option_parse(const char *option, const char *text,
		 const struct option_key *keys, size_t num_keys, struct err *e)
{
	bool given[OPTION_KEYS_MAX] = {false};
	const char *p = text;
	int r = 0;

	check(num_keys <= OPTION_KEYS_MAX);
	if (!*text)
		return err_set(e, -EINVAL, "%s: the value is empty", option);
	while (r == 0 && p) {
		auto_free char *pair = NULL;

		r = option_first(option, p, &pair, &p, e);
		if (r == 0)
			r = option_pair(option, pair, keys, num_keys, given, e);
	}
	return r;
}
