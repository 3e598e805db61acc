/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel offers only as a macro or inline function and the kernel
 * crate has no binding for. Pages, files and queues are passed as void pointers,
 * so that the generated bindings do not repeat the kernel's own types.
 */
#ifndef _ACRN_HSM_HELPERS_H
#define _ACRN_HSM_HELPERS_H

#include <linux/types.h>

u64 hsm_virt_to_phys(const void *address);
u64 hsm_page_to_pfn(const void *page);
void *hsm_pfn_to_page(u64 pfn);
void *hsm_page_address(const void *page);
/* Memory that the kernel may give to somebody else once it is not used. */
bool hsm_pfn_is_counted(u64 pfn);
/*
 * The number of pages at the beginning of an array that are one behind the other
 * in memory, and all of hugetlb folios or none.
 */
size_t hsm_first_run(void **pages, size_t count, bool *hugetlb);
/*
 * Pins the pages behind one that is pinned, as far as they are in the same folio,
 * but at most so many. Returns the number.
 */
u64 hsm_pin_rest_of_folio(void *page, u64 most);

/* Whether the kernel uses any of these physical addresses as its RAM. */
bool hsm_is_system_ram(u64 start, size_t len);
/* 0 or an errno. */
int hsm_dev_mem_locked_down(void);

/* Both under the lock of the notifier's user. */
void hsm_mmu_interval_set_seq(void *notifier, unsigned long sequence);
bool hsm_mmu_interval_read_retry(void *notifier, unsigned long sequence);

void hsm_cond_resched(void);
bool hsm_fatal_signal_pending(void);

struct eventfd_ctx;
struct eventfd_ctx *hsm_eventfd_from_file(void *file);
__poll_t hsm_vfs_poll(void *file, void *table);
/* Empties the counter, under the lock of its wait queue. */
u64 hsm_eventfd_take(struct eventfd_ctx *context, void *queue);

/* Folders and files of debugfs; their pointers may be its error pointers. */
void *hsm_debugfs_folder(const char *name, void *parent);
void hsm_debugfs_file(const char *name, void *folder, void *data,
		      const void *operations);
void hsm_debugfs_remove(void *folder);

/* A struct task_struct that does not run yet, or an error pointer. */
void *hsm_kthread_create(int (*main)(void *data), void *data, const char *name);
void hsm_kthread_begin(void *task, bool fifo);
void hsm_kthread_stop(void *task);
bool hsm_kthread_should_stop(void);

/* This interrupt handler would be a thread on PREEMPT_RT. */
void hsm_lockdep_hardirq_threaded(void);

/* A struct notifier_block. */
int hsm_register_reboot_notifier(void *block);
void hsm_unregister_reboot_notifier(void *block);

/* A struct pci_dev; without CONFIG_PCI there is none. */
void *hsm_pci_get(u16 bdf);
void hsm_pci_put(void *function);
void hsm_pci_clear_master(void *function);
int hsm_pci_reset(void *function);

u32 hsm_num_possible_cpus(void);
bool hsm_cpu_online(u32 cpu);
u32 hsm_cpu_lapic_id(u32 cpu);

/* One rate limit for the whole module. */
bool hsm_log_allowed(void);

#endif
