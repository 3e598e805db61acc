/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel offers only as a macro or inline function and the kernel
 * crate has no binding for. Pages and locks are passed as void pointers, so that the
 * generated bindings do not repeat the kernel's own types.
 */
#ifndef _ACRN_HSM_HELPERS_H
#define _ACRN_HSM_HELPERS_H

#include <linux/types.h>

u64 hsm_virt_to_phys(const void *address);
u64 hsm_page_to_pfn(const void *page);
void *hsm_pfn_to_page(u64 pfn);
void *hsm_page_address(const void *page);

void hsm_raw_spin_lock_init(void *lock, const char *name, void *key);
unsigned long hsm_raw_spin_lock_irqsave(void *lock);
void hsm_raw_spin_unlock_irqrestore(void *lock, unsigned long flags);
bool hsm_raw_spin_trylock_irqsave(void *lock, unsigned long *flags);
void hsm_raw_spin_assert_is_held(void *lock);

#endif
