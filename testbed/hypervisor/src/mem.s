# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The memory functions that the compiler calls and a C library would provide. AT&T syntax.

.text
# memcpy(to: %rdi, from: %rsi, bytes: %rdx)
.global memcpy
memcpy:
    movq %rdi, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
    rep movsb
    ret

# memmove(to: %rdi, from: %rsi, bytes: %rdx): copies backwards if the target overlaps the end of the
# source.
.global memmove
memmove:
    movq %rdi, %rax
    subq %rsi, %rax
    cmpq %rdx, %rax
    jae memcpy
    movq %rdi, %rax
    leaq -1(%rdi,%rdx), %rdi
    leaq -1(%rsi,%rdx), %rsi
    movq %rdx, %rcx
    std
    rep movsb
    cld
    ret

# memset(to: %rdi, byte: %esi, bytes: %rdx)
.global memset
memset:
    movq %rdi, %r8
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep stosq
    movl %edx, %ecx
    andl $7, %ecx
    rep stosb
    movq %r8, %rax
    ret

# memcmp(a: %rdi, b: %rsi, bytes: %rdx)
.global memcmp
.global bcmp
memcmp:
bcmp:
    xorl %eax, %eax
    testq %rdx, %rdx
    jz 2f
1:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    subl %ecx, %eax
    jnz 2f
    incq %rdi
    incq %rsi
    decq %rdx
    jnz 1b
2:  ret
