/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LIB_GUEST_H
#define TESTS_GUEST_LIB_GUEST_H

/*
 * What a bare-metal test guest has: C in 64-bit ring 3 with port I/O, the
 * first 4 GiB mapped one to one, no interrupts, no SSE, no C library.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MARK_START 0x40 /* port 0x80: the first instructions */
#define GUEST_MARK_DONE	 0x41 /* port 0x80: the guest's work is done */

struct guest_range {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* 1 = RAM, as in e820 */
	uint32_t reserved;
};

/* What the VMM told at start; filled before guest_main(). */
struct guest_boot {
	const char *cmdline; /* never NULL */
	uint64_t rsdp;	     /* 0 = none */
	const struct guest_range *ranges;
	uint32_t num_ranges;
	const void *module; /* the initramfs */
	uint64_t module_size;
};
extern struct guest_boot guest_boot;

/** guest_main() - Each guest's own; returning powers off */
void guest_main(void);

/* Ports */
static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/** guest_ring0() - Run fn(arg) in ring 0 (slow on software KVM) */
uint64_t guest_ring0(uint64_t (*fn)(uint64_t arg), uint64_t arg);

/* Output, to the debug console (port 0xe9) and COM1 at once; com1=0 on the
 * command line: to the former only */
void guest_puts(const char *s);
void guest_put_dec(uint64_t v);
void guest_put_hex(uint64_t v);
/** guest_put_pair() - " name=value" in decimal */
void guest_put_pair(const char *name, uint64_t v);

/** guest_option() - Value of "name=" on the command line, up to a blank
 *  Return: its length, and where it starts; -1 if it is not there */
int guest_option(const char *name, const char **ret);
/** guest_option_is() - Does "name=value" stand there? */
bool guest_option_is(const char *name, const char *value);

/** guest_option_number() - Decimal value of "name="; @absent without one */
uint64_t guest_option_number(const char *name, uint64_t absent);

/** guest_alloc() - Zeroed pages of RAM behind the image; never given back
 *  Return: NULL when the RAM below 4 GiB is used up */
void *guest_alloc(size_t size);

/* The end */
_Noreturn void guest_poweroff(void); /* ACPI, then whatever else ends a VM */
_Noreturn void guest_reset(void);    /* ACPI reset register */
_Noreturn void guest_reset_i8042(void);
_Noreturn void guest_triple_fault(void);
_Noreturn void guest_halt(void); /* for ever, without using the CPU */
/** guest_fail() - Say why, mark nothing, power off */
_Noreturn void guest_fail(const char *why);

/* What the compiler calls by itself */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

#endif
