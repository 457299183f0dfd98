/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CORE_LOADER_AML_H
#define VMM_CORE_LOADER_AML_H

/*
 * A writer for AML (ACPI 6.3, section 20.2): what a DSDT needs and no more.
 * Names are paths as in ASL with every segment spelt in full ("\\_SB_.PWRB").
 * What has a package length is written between an opening call (aml_device(),
 * aml_scope(), ...) and aml_close().
 *
 * Resource templates: aml_resources(), then aml_res_*, then aml_close().
 */

#include "vmm-core/loader/buf.h"

#define AML_MAX_DEPTH 8

struct aml {
	struct buf *b;
	struct {
		size_t pkg;	 /* where the package length goes */
		size_t resource; /* where a template's bytes start, or 0 */
	} open[AML_MAX_DEPTH];
	unsigned int depth;
};

void aml_init(struct aml *a, struct buf *b);
void aml_close(struct aml *a);

void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_method(struct aml *a, const char *path, unsigned int args,
		bool serialized);
void aml_if(struct aml *a); /* the condition's term follows */
void aml_package(struct aml *a, unsigned int elements);

/** aml_name() - Name (path, <the term that follows>) */
void aml_name(struct aml *a, const char *path);
void aml_name_int(struct aml *a, const char *path, uint64_t v);
void aml_name_string(struct aml *a, const char *path, const char *s);
/** aml_name_eisa() - A 7-character EISA id, "PNP0A08" */
void aml_name_eisa(struct aml *a, const char *path, const char *id);

/* Terms */
void aml_path(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_buffer(struct aml *a, const void *data, uint8_t len);
/** aml_uuid() - As ToUUID(), from its canonical text */
void aml_uuid(struct aml *a, const char *text);
void aml_op(struct aml *a, unsigned int op);
#define AML_LOCAL0 0x60
#define AML_ARG0   0x68
#define AML_ARG1   0x69
#define AML_ARG2   0x6a
#define AML_ARG3   0x6b
#define AML_STORE  0x70 /* value, target */
#define AML_AND	   0x7b /* a, b, target */
#define AML_NOTIFY 0x86 /* object, value */
#define AML_EQUAL  0x93 /* a, b */
#define AML_RETURN 0xa4 /* value */
#define AML_NONE   0x00 /* "no target" */

/** aml_io_field() - OperationRegion of one byte at @port and a field on it
 *  (NoLock, WriteAsZeros) that covers it */
void aml_io_field(struct aml *a, const char *region, const char *field,
		  uint16_t port);

/* Resources; ranges are [base, base + size), size not 0 */
void aml_resources(struct aml *a); /* Name (_CRS, ResourceTemplate () { */
void aml_res_bus(struct aml *a, unsigned int first, unsigned int count);
void aml_res_io(struct aml *a, uint16_t port, uint8_t count);
void aml_res_window_io(struct aml *a, uint16_t base, uint16_t size);
void aml_res_window_mem32(struct aml *a, uint32_t base, uint32_t size);
void aml_res_window_mem64(struct aml *a, uint64_t base, uint64_t size);
void aml_res_mem32(struct aml *a, uint32_t base, uint32_t size);
/** aml_res_irq() - Extended interrupt: edge, active high, exclusive */
void aml_res_irq(struct aml *a, uint32_t gsi);

#endif
