/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_OPTION_H
#define BROKER_OPTION_H

/*
 * The text of one command-line option: `key=value,key=[a,b],key="x,y"`, as
 * Cloud Hypervisor writes it. A table says which keys there are and where
 * their values go. Every error names the option, the key, the value, and what
 * would be accepted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum option_type {
	OPTION_BOOL, /* on, off, true, false -> bool */
	OPTION_U32,  /* decimal or 0x..., min..max -> uint32_t */
	OPTION_SIZE, /* bytes, or K, M, G -> uint64_t, min..max */
	OPTION_TEXT, /* -> char *, allocated; min..max characters */
	OPTION_MAC,  /* 12:34:56:78:9a:bc -> uint8_t[6] */
	OPTION_CALL, /* -> parse() */
};

struct option_key {
	const char *name;
	enum option_type type;
	void *dst;
	uint64_t min, max; /* both 0: any; OPTION_U32 has them */
	bool *seen;	   /* set when the key is given; may be NULL */
	int (*parse)(void *dst, const char *option, const char *key,
		     const char *value, struct err *e);
};

/**
 * option_parse() - Read @text into the destinations
 * @option: "--disk", for messages
 */
int option_parse(const char *option, const char *text,
		 const struct option_key *keys, size_t num_keys, struct err *e);

/** option_error() - "--disk num_queues=0: <text>"; Return: -EINVAL */
int option_error(struct err *e, const char *option, const char *key,
		 const char *value, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/** option_each() - Call back for each element of "[a,b]" or "a"; nested
 *  brackets and quotes stay whole */
int option_each(const char *list,
		int (*cb)(const char *element, void *arg, struct err *e),
		void *arg, struct err *e);

/**
 * option_first() - The part of @text before the first comma that is outside
 *                  brackets and quotes
 * @ret_first: A copy, quotes and all; the caller frees it
 * @ret_rest:  What follows the comma; NULL without one
 */
int option_first(const char *option, const char *text, char **ret_first,
		 const char **ret_rest, struct err *e);

/** option_unquote() - A copy without surrounding double quotes, or NULL */
char *option_unquote(const char *text);

#define OPTION_SIZE_TEXT 24

/** option_size_text() - A size as one would type it: 512M; Return: @ret */
const char *option_size_text(uint64_t size, char ret[OPTION_SIZE_TEXT]);

/** option_u32()/option_size()/option_bool() - One value */
int option_u32(const char *text, uint32_t *ret);
int option_size(const char *text, uint64_t *ret);
int option_bool(const char *text, bool *ret);

#endif
