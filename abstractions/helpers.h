/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions for macros and inline functions of the kernel that the kernel crate
 * has no binding for. Pages, files and queues are void pointers, so that the
 * generated bindings do not repeat the kernel's own types.
 */
#ifndef _ACRN_HSM_HELPERS_H
#define _ACRN_HSM_HELPERS_H

#include <linux/types.h>

u64 hsm_virt_to_phys(const void *address);
u64 hsm_page_to_pfn(const void *page);
void *hsm_pfn_to_page(u64 pfn);
void *hsm_page_address(const void *page);
/* Returns whether the kernel may free the page and use it for another purpose. */
bool hsm_pfn_is_counted(u64 pfn);
/*
 * Returns the length of the longest run at the beginning of an array: pages
 * that follow each other in memory, and all of hugetlb folios or none.
 */
size_t hsm_first_run(void **pages, size_t count, bool *hugetlb);
/*
 * Pins the pages that follow a pinned page in its folio, but at most `most`.
 * Returns the number of pages pinned.
 */
u64 hsm_pin_rest_of_folio(void *page, u64 most);

/* Returns the last physical address that the CPU has. */
u64 hsm_last_phys_addr(void);
/* Returns whether the kernel uses any of these physical addresses as RAM. */
bool hsm_is_system_ram(u64 start, size_t len);
/* Returns 0 or an errno. */
int hsm_dev_mem_locked_down(void);

/* Both are called under the lock of the notifier's user. */
void hsm_mmu_interval_set_seq(void *notifier, unsigned long seq);
bool hsm_mmu_interval_read_retry(void *notifier, unsigned long seq);

void hsm_cond_resched(void);
bool hsm_fatal_signal_pending(void);

struct eventfd_ctx;
struct eventfd_ctx *hsm_eventfd_ctx_fileget(void *file);
__poll_t hsm_vfs_poll(void *file, void *table);
/* Reads the counter as read(2) does, under the lock of its wait queue. */
u64 hsm_eventfd_take(struct eventfd_ctx *context, void *queue);
/* Waits until wake-ups of the wait queue that are in progress have ended. */
void hsm_wait_for_wake_up(void *queue);

/* Directories of debugfs may be its error pointers. */
void *hsm_debugfs_create_dir(const char *name, void *parent);
void hsm_debugfs_create_file(const char *name, void *dir, void *data,
			     const void *operations);
void hsm_debugfs_remove(void *dir);

/* Returns a struct task_struct that does not run yet, or an error pointer. */
void *hsm_kthread_create(int (*main)(void *data), void *data, const char *name);
void hsm_kthread_begin(void *task, bool fifo);
void hsm_kthread_stop(void *task);
bool hsm_kthread_should_stop(void);

/* Tells lockdep that this interrupt handler is a thread on PREEMPT_RT. */
void hsm_lockdep_hardirq_threaded(void);

/* The parameter is a struct notifier_block. */
int hsm_register_reboot_notifier(void *block);
void hsm_unregister_reboot_notifier(void *block);

/* The function is a struct pci_dev. Without CONFIG_PCI there is none. */
void *hsm_pci_get(u16 bdf);
void hsm_pci_put(void *function);
void hsm_pci_clear_master(void *function);
int hsm_pci_reset_function(void *function);

bool hsm_cpu_online(u32 cpu);
u32 hsm_cpu_lapic_id(u32 cpu);

/* Returns whether a line may be logged: one rate limit for the whole module. */
bool hsm_ratelimit(void);

#endif
