// SPDX-License-Identifier: GPL-2.0
#include <linux/io.h>
#include <linux/mm.h>

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
