// SPDX-License-Identifier: GPL-2.0
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "helpers.h"

u64 hsm_virt_to_phys(const void *address)
{
	return virt_to_phys((void *)address);
}

u64 hsm_page_to_pfn(const void *page)
{
	return page_to_pfn((const struct page *)page);
}

void *hsm_pfn_to_page(u64 pfn)
{
	return pfn_to_page(pfn);
}

void *hsm_page_address(const void *page)
{
	return page_address((const struct page *)page);
}

void hsm_raw_spin_lock_init(void *lock, const char *name, void *key)
{
#ifdef CONFIG_DEBUG_SPINLOCK
	__raw_spin_lock_init(lock, name, key, LD_WAIT_SPIN);
#else
	raw_spin_lock_init((raw_spinlock_t *)lock);
#endif
}

unsigned long hsm_raw_spin_lock_irqsave(void *lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave((raw_spinlock_t *)lock, flags);
	return flags;
}

void hsm_raw_spin_unlock_irqrestore(void *lock, unsigned long flags)
{
	raw_spin_unlock_irqrestore((raw_spinlock_t *)lock, flags);
}

bool hsm_raw_spin_trylock_irqsave(void *lock, unsigned long *flags)
{
	return raw_spin_trylock_irqsave((raw_spinlock_t *)lock, *flags);
}

void hsm_raw_spin_assert_is_held(void *lock)
{
	lockdep_assert_held((raw_spinlock_t *)lock);
}
