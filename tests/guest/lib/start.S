/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From the PVH entry (32-bit, paging off, ebx = start info) to C in ring 3.
 * On a KVM without hardware virtualization ring 0 is interpreted, some
 * thousand times slower than ring 3: so page tables and descriptors are made
 * by the assembler, and as little as possible is executed here.
 */

#define CR0_PE	  0x1
#define CR0_MP	  0x2
#define CR0_ET	  0x10
#define CR0_NE	  0x20
#define CR0_PG	  0x80000000
#define CR4_PAE	  0x20
#define MSR_EFER  0xc0000080
#define EFER_LME  0x100
#define FLAGS_USER 0x3002 /* IOPL 3, interrupts off */

#define SEL_CODE64    0x08
#define SEL_DATA      0x10
#define SEL_USER_DATA 0x1b
#define SEL_USER_CODE 0x23
#define SEL_TSS	      0x28

#define CALL_MAGIC 0x52494e47 /* as in guest.c */

#define TSS_RSP0	   4
#define TSS_BITMAP_BASE 102
#define TSS_BITMAP	   104
#define TSS_LIMIT	   (TSS_BITMAP + 8192)

#define PAGE_USER 0x7 /* present, writable, user */
#define PAGE_2M	  0x80

	.section .note.Xen, "a", @note
	.align 4
	.long 4, 4, 18 /* name size, value size, PHYS32_ENTRY */
	.asciz "Xen"
	.long guest_start

	.section .start, "ax"
	.code32
	.globl guest_start
guest_start:
	mov	$0x40, %al /* the ruler of start-up time: first instructions */
	out	%al, $0x80

	lgdt	guest_gdtr
	mov	$guest_pml4, %eax
	mov	%eax, %cr3
	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$MSR_EFER, %ecx
	mov	$EFER_LME, %eax
	xor	%edx, %edx
	wrmsr
	mov	$(CR0_PG | CR0_NE | CR0_ET | CR0_MP | CR0_PE), %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $1f

	.code64
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	$SEL_USER_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	$guest_kernel_stack_end, %esp
	mov	%esp, guest_tss + TSS_RSP0
	movw	$TSS_BITMAP, guest_tss + TSS_BITMAP_BASE
	movb	$0xff, guest_tss + TSS_LIMIT
	mov	$SEL_TSS, %eax
	ltr	%ax
	lidt	guest_idtr
	mov	%ebx, %edi /* start info, guest_init()'s argument */
	pushq	$SEL_USER_DATA
	pushq	$(guest_user_stack_end - 8) /* as after a call */
	pushq	$FLAGS_USER
	pushq	$SEL_USER_CODE
	pushq	$guest_init
	iretq

/*
 * Invalid opcode, vector 6. With rax = CALL_MAGIC it is a request to run
 * something in ring 0 (software KVM refuses INT n from ring 3): rdi =
 * function, rsi = its argument; result in rax. Clobbers what a call may.
 */
	.text
	.globl guest_trap_invalid
guest_trap_invalid:
	cmp	$CALL_MAGIC, %rax
	jne	guest_exception_stubs + 6 * 16
	addq	$2, (%rsp) /* over UD2 */
	mov	%rdi, %rax
	mov	%rsi, %rdi
	sub	$8, %rsp /* the ABI's alignment */
	call	*%rax
	add	$8, %rsp
	iretq

/* Exceptions: (vector, error code, instruction pointer) -> guest_exception() */
	.align 16
	.globl guest_exception_stubs
guest_exception_stubs:
	.set vector, 0
	.rept 32
	.align 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	pushq	$0 /* the others push an error code themselves */
	.endif
	pushq	$vector
	jmp	guest_trap_exception
	.set vector, vector + 1
	.endr

guest_trap_exception:
	pop	%rdi
	pop	%rsi
	mov	(%rsp), %rdx
	mov	%cr2, %rcx
	and	$-16, %rsp
	call	guest_exception

	.section .data
	.align 8
guest_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* ring 0 code, 64 bit */
	.quad 0x00cf93000000ffff /* ring 0 data */
	.quad 0x00cff3000000ffff /* ring 3 data */
	.quad 0x00affb000000ffff /* ring 3 code, 64 bit */
	.word TSS_LIMIT, guest_tss_low
	.byte guest_tss_middle, 0x89, 0, guest_tss_high
	.quad 0
guest_gdt_end:

guest_gdtr:
	.word guest_gdt_end - guest_gdt - 1
	.quad guest_gdt

guest_idtr:
	.word 256 * 16 - 1
	.quad guest_idt

/* The first 4 GiB, identity, ring 3 may write (so it can map more itself). */
	.align 4096
	.globl guest_pml4, guest_pdpt
guest_pml4:
	.quad guest_pdpt + PAGE_USER
	.fill 511, 8, 0
guest_pdpt:
	.quad guest_pd + PAGE_USER
	.quad guest_pd + 0x1000 + PAGE_USER
	.quad guest_pd + 0x2000 + PAGE_USER
	.quad guest_pd + 0x3000 + PAGE_USER
	.fill 508, 8, 0
guest_pd:
	.set page, 0
	.rept 2048
	.quad page + PAGE_2M + PAGE_USER
	.set page, page + 0x200000
	.endr

	.section .bss
/*
 * Software KVM forgets IOPL on the way to ring 3; so the TSS has an I/O bitmap,
 * all zero: every port allowed. One byte of ones ends it.
 */
	.align 4096
	.globl guest_tss
guest_tss:
	.skip TSS_BITMAP
	.skip 8192
	.skip 1
	.align 4096
	.globl guest_idt
guest_idt:
	.skip 256 * 16
	.skip 4096
guest_kernel_stack_end:
	.skip 16384
guest_user_stack_end:

	.section .note.GNU-stack, "", @progbits
