# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Interrupts that mini-ACRN itself takes. All its Rust code runs with GIF = 0 and IF = 0. Therefore
# an NMI is taken in wait_for_kick and take_nmi only, and an interrupt in drain_interrupts only.
# AT&T syntax.

.text
# Sleeps until an NMI. An NMI that is pending is taken at STGI, and its handler skips HLT.
.global wait_for_kick
wait_for_kick:
    stgi
halt_here:
    hlt
    clgi
    ret

# Takes a pending NMI.
.global take_nmi
take_nmi:
    stgi
    nop
    clgi
    ret

# Takes the pending interrupts.
.global drain_interrupts
drain_interrupts:
    stgi
    sti
    nop
    nop
    cli
    clgi
    ret

nmi_entry:
    pushq %rax
    leaq halt_here(%rip), %rax
    cmpq %rax, 8(%rsp)
    jne 1f
    incq 8(%rsp)
1:  popq %rax
    iretq

# An interrupt for a guest that no longer runs: it is acknowledged and ignored.
interrupt_entry:
    pushq %rax
    movl $0xFEE000B0, %eax
    movl $0, (%rax)
    popq %rax
    iretq

.macro exception vector
exception_\vector:
    .if (\vector != 8) && ((\vector < 10) || (\vector > 14))
    pushq $0
    .endif
    pushq $\vector
    jmp exception_entry
.endm

.irp n, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
exception \n
.endr

# Stack: vector, error code, RIP, CS, RFLAGS, RSP, SS.
exception_entry:
    movq %rsp, %rdi
    andq $-16, %rsp
    call exception_panic
    ud2

# The IDT, 16 bytes per gate, is built from these addresses.
.section .rodata
.balign 8
.global gate_targets
gate_targets:
    .quad exception_0, exception_1, nmi_entry, exception_3, exception_4, exception_5, exception_6
    .quad exception_7, exception_8, exception_9, exception_10, exception_11, exception_12
    .quad exception_13, exception_14, exception_15
    .rept 240
    .quad interrupt_entry
    .endr
.data
.balign 8
.global idt_pointer
idt_pointer:
    .word 4095
    .quad idt
.bss
.balign 4096
.global idt
idt:
    .skip 4096
.text
