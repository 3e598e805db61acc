# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Entry points of the CPUs, and their way to 64-bit Rust: CPU 0 comes from QEMU's multiboot loader,
# all others from a SIPI. AT&T syntax.

.set STACK_SIZE, 0x10000
.set MAX_CPUS, 16
# PG, WP, NE, ET, MP, PE
.set HOST_CR0, 0x80010033

# Multiboot 1 header: requests page-aligned modules and the memory map.
.section .multiboot, "a"
.balign 4
    .long 0x1BADB002
    .long 0x00000003
    .long -(0x1BADB002 + 0x00000003)

.section .boot.text, "ax"
.code32
.global _start
_start:
    cli
    movl %eax, boot_magic
    movl %ebx, boot_info
    lgdtl boot_gdt_pointer
    ljmpl $0x18, $enter_long_mode

enter_long_mode:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    # PAE, OSFXSR, OSXMMEXCPT
    movl $0x620, %eax
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    # EFER: LME
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $HOST_CR0, %eax
    movl %eax, %cr0
    ljmpl $0x08, $long_mode

.code64
long_mode:
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    # The stack is selected by LAPIC id.
    movl $1, %eax
    cpuid
    shrl $24, %ebx
    cmpl $MAX_CPUS, %ebx
    jae stop
    movl %ebx, %edi
    leal 1(%ebx), %eax
    imull $STACK_SIZE, %eax
    movabsq $boot_stacks, %rsp
    addq %rax, %rsp
    xorl %ebp, %ebp
    lidtq idt_pointer
    pushq $0
    testl %edi, %edi
    jne ap_main
    movl boot_magic, %edi
    movl boot_info, %esi
    jmp bsp_main
stop:
    cli
    hlt
    jmp stop

# Copied to page 8 of physical memory, where the SIPI starts the other CPUs.
.global trampoline_start
.global trampoline_end
.code16
trampoline_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + (trampoline_gdt - trampoline_start)
    movl $0x11, %eax
    movl %eax, %cr0
    ljmpl $0x18, $enter_long_mode
.balign 4
trampoline_gdt:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:
.code64

.section .data
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF    # 0x08: 64-bit code
    .quad 0x00CF93000000FFFF    # 0x10: data
    .quad 0x00CF9B000000FFFF    # 0x18: 32-bit code
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
    .long 0
boot_magic:
    .long 0
boot_info:
    .long 0

# Maps the first 512 GiB one to one by pages of 1 GiB.
.balign 4096
boot_pml4:
    .quad boot_pdpt + 3
    .fill 511, 8, 0
boot_pdpt:
    .set page, 0
    .rept 512
    .quad page * 0x40000000 + 0x83
    .set page, page + 1
    .endr

.section .bss
.balign 4096
boot_stacks:
    .skip STACK_SIZE * MAX_CPUS
.text
