/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/guest.h"

#define PORT_ACPI	 0x600 /* 1 = reset, 0x34 = power off */
#define PORT_QEMU_PM1	 0x604 /* QEMU pc, q35 */
#define PORT_DEBUG_EXIT	 0xf4  /* QEMU isa-debug-exit */
#define PORT_I8042	 0x64
#define PORT_DEBUG	 0xe9
#define PORT_COM1	 0x3f8
#define PORT_COM1_STATUS 0x3fd
#define COM1_THR_EMPTY	 0x20

#define PVH_MAGIC   0x336ec578
#define IDT_GATE    0x8e00	  /* present, interrupt gate, for ring 0 */
#define IDT_INVALID 6		  /* UD2 */
#define CALL_MAGIC  0x52494e47ull /* as in start.S */
#define SEL_CODE64  0x08
#define PAGE	    4096ull

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
};

struct pvh_module {
	uint64_t paddr;
	uint64_t size;
};

struct idt_gate {
	uint16_t low;
	uint16_t selector;
	uint16_t flags;
	uint16_t middle;
	uint32_t high;
	uint32_t reserved;
};

extern struct idt_gate guest_idt[256];
extern const uint8_t guest_exception_stubs[32][16];
extern const uint8_t guest_trap_invalid[];
extern uint8_t guest_image_end[];

_Noreturn void guest_init(const struct pvh_start_info *info);
_Noreturn void guest_exception(uint64_t vector, uint64_t code, uint64_t rip,
			       uint64_t addr);

struct guest_boot guest_boot = {.cmdline = ""};
static uint64_t alloc_next;

static void idt_set(unsigned int vector, const void *handler)
{
	uint64_t addr = (uint64_t)handler;

	guest_idt[vector] = (struct idt_gate){
		.low = (uint16_t)addr,
		.selector = SEL_CODE64,
		.flags = IDT_GATE,
		.middle = (uint16_t)(addr >> 16),
		.high = (uint32_t)(addr >> 32),
	};
}

static void boot_read(const struct pvh_start_info *info)
{
	const struct pvh_module *module;

	if (info->magic != PVH_MAGIC)
		guest_fail("no PVH start info");
	if (info->cmdline_paddr)
		guest_boot.cmdline = (const char *)info->cmdline_paddr;
	guest_boot.rsdp = info->rsdp_paddr;
	if (info->version >= 1) {
		guest_boot.ranges = (const void *)info->memmap_paddr;
		guest_boot.num_ranges = info->memmap_entries;
	}
	if (info->nr_modules) {
		module = (const void *)info->modlist_paddr;
		guest_boot.module = (const void *)module->paddr;
		guest_boot.module_size = module->size;
	}
}

/* From start.S, in ring 3. */
void guest_init(const struct pvh_start_info *info)
{
	for (unsigned int i = 0; i < 32; i++)
		idt_set(i, guest_exception_stubs[i]);
	idt_set(IDT_INVALID, guest_trap_invalid);
	alloc_next = (uint64_t)guest_image_end;
	boot_read(info);
	guest_main();
	guest_poweroff();
}

void guest_exception(uint64_t vector, uint64_t code, uint64_t rip,
		     uint64_t addr)
{
	guest_puts("guest: exception ");
	guest_put_dec(vector);
	guest_puts(" code ");
	guest_put_hex(code);
	guest_puts(" at ");
	guest_put_hex(rip);
	guest_puts(" address ");
	guest_put_hex(addr);
	guest_fail("");
}

uint64_t guest_ring0(uint64_t (*fn)(uint64_t arg), uint64_t arg)
{
	uint64_t ret = CALL_MAGIC;
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	if (!(cs & 3)) /* in an exception's handler */
		return fn(arg);
	__asm__ volatile("ud2"
			 : "+a"(ret), "+D"(fn), "+S"(arg)
			 :
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory",
			   "cc");
	return ret;
}

/* A UART that is absent reads as all ones: empty, so nothing waits. */
static void com1_put(char c)
{
	for (int i = 0; i < 1000; i++) {
		if (inb(PORT_COM1_STATUS) & COM1_THR_EMPTY)
			break;
	}
	outb(PORT_COM1, (uint8_t)c);
}

void guest_puts(const char *s)
{
	const char *p = s;
	size_t n = strlen(s);

	/* As one instruction: it may be one exit. */
	__asm__ volatile("rep outsb"
			 : "+S"(p), "+c"(n)
			 : "d"((uint16_t)PORT_DEBUG)
			 : "memory");
	if (guest_option_is("com1", "0"))
		return;
	while (*s)
		com1_put(*s++);
}

static void put_number(uint64_t v, unsigned int base)
{
	char text[21];
	char *p = text + sizeof(text) - 1;

	*p = '\0';
	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	guest_puts(p);
}

void guest_put_dec(uint64_t v)
{
	put_number(v, 10);
}

void guest_put_hex(uint64_t v)
{
	guest_puts("0x");
	put_number(v, 16);
}

void guest_put_pair(const char *name, uint64_t v)
{
	guest_puts(" ");
	guest_puts(name);
	guest_puts("=");
	guest_put_dec(v);
}

int guest_option(const char *name, const char **ret)
{
	size_t len = strlen(name);
	const char *p = guest_boot.cmdline;

	while (*p) {
		const char *word = p;
		int n = 0;

		while (*p && *p != ' ')
			p++;
		if ((size_t)(p - word) > len && !memcmp(word, name, len) &&
		    word[len] == '=') {
			n = (int)(p - word - (long)len - 1);
			*ret = word + len + 1;
			return n;
		}
		while (*p == ' ')
			p++;
	}
	return -1;
}

bool guest_option_is(const char *name, const char *value)
{
	const char *v;
	int len = guest_option(name, &v);

	return len >= 0 && (size_t)len == strlen(value) &&
	       !memcmp(v, value, (size_t)len);
}

uint64_t guest_option_number(const char *name, uint64_t absent)
{
	const char *v;
	int len = guest_option(name, &v);
	uint64_t n = 0;

	if (len <= 0)
		return absent;
	for (int i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			guest_fail("an option's value is not a number");
		n = n * 10 + (uint64_t)(v[i] - '0');
	}
	return n;
}

void *guest_alloc(size_t size)
{
	uint64_t len = (size + PAGE - 1) & ~(PAGE - 1);

	for (uint32_t i = 0; i < guest_boot.num_ranges; i++) {
		const struct guest_range *r = &guest_boot.ranges[i];

		if (r->type == 1 && alloc_next >= r->addr &&
		    alloc_next - r->addr < r->size &&
		    len <= r->size - (alloc_next - r->addr)) {
			void *p = (void *)alloc_next;

			alloc_next += len;
			return memset(p, 0, len);
		}
	}
	return NULL;
}

static uint64_t ring0_halt(uint64_t arg)
{
	for (;;)
		__asm__ volatile("cli; hlt");
	return arg;
}

static uint64_t ring0_triple_fault(uint64_t arg)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
	return arg;
}

void guest_halt(void)
{
	guest_ring0(ring0_halt, 0);
	for (;;)
		;
}

void guest_triple_fault(void)
{
	guest_ring0(ring0_triple_fault, 0);
	for (;;)
		;
}

void guest_reset_i8042(void)
{
	outb(PORT_I8042, 0xfe);
	guest_triple_fault();
}

void guest_reset(void)
{
	outb(PORT_ACPI, 0x01);
	guest_reset_i8042();
}

/* The first is ours; a VMM that goes on after it gets the others. */
void guest_poweroff(void)
{
	outb(PORT_ACPI, 0x34);
	outb(PORT_DEBUG_EXIT, 0);
	outw(PORT_QEMU_PM1, 0x2000);
	guest_reset_i8042();
}

void guest_fail(const char *why)
{
	guest_puts(why);
	guest_puts("\nguest: FAILED\n");
	guest_poweroff();
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *ret = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(dst), "+S"(src), "+c"(n)
			 :
			 : "memory");
	return ret;
}

void *memset(void *dst, int c, size_t n)
{
	void *ret = dst;

	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
	return ret;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}
