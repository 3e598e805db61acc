# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# World switch. AT&T syntax.
#
# vcpu_enter(vmcb: %rdi, state: %rsi): runs the guest until its next #VMEXIT. `state` is
# `GuestState`: 16 general-purpose registers (RAX and RSP are in the VMCB), the FXSAVE area, the TSC
# at the entry, and the TSC at the exit. mini-ACRN does not change the upper halves of YMM
# registers, so that they need no saving.
#
# At a #VMEXIT, QEMU (7.2 at least) leaves the guest's value in CR0 if the guest has set EFER.LME but
# neither CR4.PAE nor CR0.PG. The code continues, because paging maps one to one, but FXSAVE may
# fault, and an NMI is delivered as in real mode. So CR0 is restored here.

.text
.global vcpu_enter
vcpu_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rsi
    fxrstor64 128(%rsi)
    movq 8(%rsi), %rcx
    movq 24(%rsi), %rbx
    movq 40(%rsi), %rbp
    movq 64(%rsi), %r8
    movq 72(%rsi), %r9
    movq 80(%rsi), %r10
    movq 88(%rsi), %r11
    movq 96(%rsi), %r12
    movq 104(%rsi), %r13
    movq 112(%rsi), %r14
    movq 120(%rsi), %r15
    rdtsc
    movl %eax, 640(%rsi)
    movl %edx, 644(%rsi)
    movq %rdi, %rax
    movq 16(%rsi), %rdx
    movq 56(%rsi), %rdi
    movq 48(%rsi), %rsi
    vmrun %rax
    xchgq %rsi, (%rsp)
    movq %rcx, 8(%rsi)
    movq %rdx, 16(%rsi)
    rdtsc
    movl %eax, 648(%rsi)
    movl %edx, 652(%rsi)
    movq %cr0, %rcx
    testl %ecx, %ecx
    js 1f
    movl $HOST_CR0, %ecx
    movq %rcx, %cr0
1:
    movq %rbx, 24(%rsi)
    movq %rbp, 40(%rsi)
    movq %rdi, 56(%rsi)
    movq %r8, 64(%rsi)
    movq %r9, 72(%rsi)
    movq %r10, 80(%rsi)
    movq %r11, 88(%rsi)
    movq %r12, 96(%rsi)
    movq %r13, 104(%rsi)
    movq %r14, 112(%rsi)
    movq %r15, 120(%rsi)
    popq %rcx
    movq %rcx, 48(%rsi)
    fxsave64 128(%rsi)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
