/* SPDX-License-Identifier: GPL-2.0 */
/* The events below events/acrn_hsm/ of tracefs. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM acrn_hsm

#if !defined(_ACRN_HSM_TRACEPOINTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _ACRN_HSM_TRACEPOINTS_H

#include <linux/tracepoint.h>

/* The handler of a request: `enum Handler` of tracepoints.rs. */
#define show_handler(handler) \
	__print_symbolic(handler, { 0, "device-model" }, { 1, "ioeventfd" }, \
			 { 2, "pci-config" })

TRACE_EVENT(acrn_ioreq_dispatch,
	TP_PROTO(u16 vmid, u16 vcpu, u32 handler, bool port, bool write,
		 u64 address, u64 size),
	TP_ARGS(vmid, vcpu, handler, port, write, address, size),
	TP_STRUCT__entry(
		__field(u16, vmid)
		__field(u16, vcpu)
		__field(u32, handler)
		__field(bool, port)
		__field(bool, write)
		__field(u64, address)
		__field(u64, size)
	),
	TP_fast_assign(
		__entry->vmid = vmid;
		__entry->vcpu = vcpu;
		__entry->handler = handler;
		__entry->port = port;
		__entry->write = write;
		__entry->address = address;
		__entry->size = size;
	),
	TP_printk("vmid=%u vcpu=%u handler=%s %s %s address=0x%llx size=%llu",
		  __entry->vmid, __entry->vcpu, show_handler(__entry->handler),
		  __entry->port ? "port" : "memory",
		  __entry->write ? "write" : "read",
		  __entry->address, __entry->size)
);

TRACE_EVENT(acrn_ioreq_finish,
	TP_PROTO(u16 vmid, u16 vcpu),
	TP_ARGS(vmid, vcpu),
	TP_STRUCT__entry(
		__field(u16, vmid)
		__field(u16, vcpu)
	),
	TP_fast_assign(
		__entry->vmid = vmid;
		__entry->vcpu = vcpu;
	),
	TP_printk("vmid=%u vcpu=%u", __entry->vmid, __entry->vcpu)
);

TRACE_EVENT(acrn_irqfd_inject,
	TP_PROTO(u16 vmid, u64 msi_addr, u64 msi_data),
	TP_ARGS(vmid, msi_addr, msi_data),
	TP_STRUCT__entry(
		__field(u16, vmid)
		__field(u64, msi_addr)
		__field(u64, msi_data)
	),
	TP_fast_assign(
		__entry->vmid = vmid;
		__entry->msi_addr = msi_addr;
		__entry->msi_data = msi_data;
	),
	TP_printk("vmid=%u msi_addr=0x%llx msi_data=0x%llx", __entry->vmid,
		  __entry->msi_addr, __entry->msi_data)
);

TRACE_EVENT(acrn_pin_pages,
	TP_PROTO(u64 start, u64 pages, u64 with_folio),
	TP_ARGS(start, pages, with_folio),
	TP_STRUCT__entry(
		__field(u64, start)
		__field(u64, pages)
		__field(u64, with_folio)
	),
	TP_fast_assign(
		__entry->start = start;
		__entry->pages = pages;
		__entry->with_folio = with_folio;
	),
	TP_printk("start=0x%llx pages=%llu with_folio=%llu", __entry->start,
		  __entry->pages, __entry->with_folio)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE tracepoints
#include <trace/define_trace.h>
