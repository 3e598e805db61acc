// SPDX-License-Identifier: GPL-2.0
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/eventfd.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/ratelimit.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <asm/processor.h>

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

bool hsm_pfn_is_counted(u64 pfn)
{
	return pfn_valid(pfn) && !PageReserved(pfn_to_page(pfn));
}

static bool is_hugetlb(const struct page *page)
{
	return folio_test_hugetlb(page_folio(page));
}

size_t hsm_first_run(void **pages, size_t count, bool *hugetlb)
{
	struct page *page = pages[0];
	size_t run = 0;

	*hugetlb = is_hugetlb(page);
	do {
		page++;
		run++;
		/* A hugetlb folio begins and ends at a multiple of its size. */
	} while (run < count && page == pages[run] &&
		 (page_to_pfn(page) % PTRS_PER_PMD || is_hugetlb(page) == *hugetlb));
	return run;
}

u64 hsm_pin_rest_of_folio(void *page, u64 most)
{
	struct folio *folio = page_folio((struct page *)page);
	u64 rest = folio_nr_pages(folio) - folio_page_idx(folio, page) - 1;

	rest = min(rest, most);
	return rest && !folio_add_pins(folio, rest) ? rest : 0;
}

u64 hsm_last_phys_addr(void)
{
	return iomem_resource.end;
}

bool hsm_is_system_ram(u64 start, size_t len)
{
	return region_intersects(start, len, IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

int hsm_dev_mem_locked_down(void)
{
	return security_locked_down(LOCKDOWN_DEV_MEM);
}

void hsm_mmu_interval_set_seq(void *notifier, unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);
}

bool hsm_mmu_interval_read_retry(void *notifier, unsigned long seq)
{
	return mmu_interval_read_retry(notifier, seq);
}

void hsm_cond_resched(void)
{
	cond_resched();
}

bool hsm_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

__poll_t hsm_vfs_poll(void *file, void *table)
{
	return vfs_poll(file, table);
}

struct eventfd_ctx *hsm_eventfd_ctx_fileget(void *file)
{
	return eventfd_ctx_fileget(file);
}

u64 hsm_eventfd_take(struct eventfd_ctx *context, void *queue)
{
	spinlock_t *lock = &((wait_queue_head_t *)queue)->lock;
	unsigned long flags;
	u64 count;

	spin_lock_irqsave(lock, flags);
	eventfd_ctx_do_read(context, &count);
	/* A writer that waits for room can go on. */
	if (count)
		wake_up_locked_poll((wait_queue_head_t *)queue, EPOLLOUT);
	spin_unlock_irqrestore(lock, flags);
	return count;
}

void hsm_wait_for_wake_up(void *queue)
{
	spinlock_t *lock = &((wait_queue_head_t *)queue)->lock;
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	spin_unlock_irqrestore(lock, flags);
}

void *hsm_debugfs_create_dir(const char *name, void *parent)
{
	return debugfs_create_dir(name, parent);
}

void hsm_debugfs_create_file(const char *name, void *dir, void *data,
			     const void *operations)
{
	debugfs_create_file(name, 0400, dir, data,
			    (const struct file_operations *)operations);
}

void hsm_debugfs_remove(void *dir)
{
	debugfs_remove(dir);
}

void *hsm_kthread_create(int (*main)(void *data), void *data, const char *name)
{
	return kthread_create(main, data, "%s", name);
}

void hsm_kthread_begin(void *task, bool fifo)
{
	if (fifo)
		sched_set_fifo(task);
	wake_up_process(task);
}

void hsm_kthread_stop(void *task)
{
	kthread_stop(task);
}

bool hsm_kthread_should_stop(void)
{
	return kthread_should_stop();
}

void hsm_lockdep_hardirq_threaded(void)
{
	lockdep_hardirq_threaded();
}

int hsm_register_reboot_notifier(void *block)
{
	return register_reboot_notifier(block);
}

void hsm_unregister_reboot_notifier(void *block)
{
	unregister_reboot_notifier(block);
}

#ifdef CONFIG_PCI
void *hsm_pci_get(u16 bdf)
{
	return pci_get_domain_bus_and_slot(0, PCI_BUS_NUM(bdf), bdf & 0xff);
}

void hsm_pci_put(void *function)
{
	pci_dev_put(function);
}

void hsm_pci_clear_master(void *function)
{
	pci_clear_master(function);
}

int hsm_pci_reset_function(void *function)
{
	return pci_reset_function(function);
}
#else
void *hsm_pci_get(u16 bdf)
{
	return NULL;
}

void hsm_pci_put(void *function)
{
}

void hsm_pci_clear_master(void *function)
{
}

int hsm_pci_reset_function(void *function)
{
	return -ENOTTY;
}
#endif

bool hsm_cpu_online(u32 cpu)
{
	return cpu_online(cpu);
}

u32 hsm_cpu_lapic_id(u32 cpu)
{
	/* From the MADT: cpu_data() is filled in when the CPU starts. */
	return cpu_physical_id(cpu);
}

bool hsm_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&limit);
}
