/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface between programs of the Service VM and the ACRN HSM driver,
 * /dev/acrn_hsm.
 *
 * Names, numbers and layouts are those of <linux/acrn.h>: a program that was
 * built with either header runs on either driver. All numbers are
 * little-endian. All reserved fields must be 0.
 *
 * An open file has at most one User VM at a time. ACRN_IOCTL_CREATE_VM creates
 * it, the other commands act on it, and ACRN_IOCTL_DESTROY_VM or the last
 * close() destroys it.
 *
 * An address is a guest-physical address of the User VM, unless stated
 * otherwise.
 */
#ifndef _UAPI_ACRN_H
#define _UAPI_ACRN_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * I/O requests
 *
 * The hypervisor, the driver and the device model share a page of 16 slots, one
 * per vCPU. The device model allocates it and passes its address to
 * ACRN_IOCTL_CREATE_VM. The states of a slot are
 *
 *	FREE -> PENDING -> PROCESSING -> COMPLETE -> FREE
 *
 * and each transition is made by one party:
 *
 *	FREE -> PENDING		The hypervisor: a vCPU accessed a port or an
 *				address without memory, and waits. The
 *				hypervisor fills in the slot before it changes
 *				the state, and then sends the upcall.
 *	PENDING -> PROCESSING	The driver: it gives the request to a client.
 *	PENDING -> COMPLETE	The driver: it has handled the request itself.
 *	PROCESSING -> COMPLETE	The driver: the client has handled the request,
 *				and the slot has the value of a read. The device
 *				model requests this transition by
 *				ACRN_IOCTL_NOTIFY_REQUEST_FINISH.
 *	COMPLETE -> FREE	The hypervisor: it takes the value and resumes
 *				the vCPU.
 *
 * All accesses to the state are atomic: loads with acquire, stores with release
 * semantics. A vCPU has at most one request at a time.
 */

/* Slots in the page, and the most vCPUs of a User VM */
#define ACRN_IO_REQUEST_MAX		16

/* acrn_io_request.processed */
#define ACRN_IOREQ_STATE_PENDING	0
#define ACRN_IOREQ_STATE_COMPLETE	1
#define ACRN_IOREQ_STATE_PROCESSING	2
#define ACRN_IOREQ_STATE_FREE		3

/* acrn_io_request.type, which selects the member of acrn_io_request.reqs */
#define ACRN_IOREQ_TYPE_PORTIO		0
#define ACRN_IOREQ_TYPE_MMIO		1
#define ACRN_IOREQ_TYPE_PCICFG		2

/* The direction of a request of any type */
#define ACRN_IOREQ_DIR_READ		0
#define ACRN_IOREQ_DIR_WRITE		1

/**
 * struct acrn_mmio_request - an access to an address without memory
 * @direction: ACRN_IOREQ_DIR_*
 * @reserved: 0
 * @address: address of the first byte
 * @size: length in bytes: 1, 2, 4 or 8
 * @value: the value that is written, or the result of a read
 */
struct acrn_mmio_request {
	__u32	direction;
	__u32	reserved;
	__u64	address;
	__u64	size;
	__u64	value;
};

/**
 * struct acrn_pio_request - an access to an I/O port
 * @direction: ACRN_IOREQ_DIR_*
 * @reserved: 0
 * @address: the first port
 * @size: length in bytes: 1, 2 or 4
 * @value: the value that is written, or the result of a read
 */
struct acrn_pio_request {
	__u32	direction;
	__u32	reserved;
	__u64	address;
	__u64	size;
	__u32	value;
};

/**
 * struct acrn_pci_request - an access to PCI configuration space
 * @direction: ACRN_IOREQ_DIR_*
 * @reserved: 0
 * @size: length in bytes: 1, 2 or 4
 * @value: the value that is written, or the result of a read
 * @bus: bus number
 * @dev: device number
 * @func: function number
 * @reg: offset of the first byte in the function's configuration space
 *
 * The driver converts accesses to the ports 0xCF8 and 0xCFC to such requests in
 * place, so @direction, @size and @value are where struct acrn_pio_request has
 * them.
 */
struct acrn_pci_request {
	__u32	direction;
	__u32	reserved[3];
	__u64	size;
	__u32	value;
	__u32	bus;
	__u32	dev;
	__u32	func;
	__u32	reg;
};

/**
 * struct acrn_io_request - a slot of the request page
 * @type: ACRN_IOREQ_TYPE_*
 * @completion_polling: if not 0, the hypervisor polls @processed and needs no
 *			notification
 * @reserved0: 0
 * @reqs: the access, at offset 64 of the slot
 * @reserved1: 0
 * @kernel_handled: if not 0, the driver handles the request, and the device
 *		    model must ignore it
 * @processed: the state, ACRN_IOREQ_STATE_*
 */
struct acrn_io_request {
	__u32	type;
	__u32	completion_polling;
	__u32	reserved0[14];
	union {
		struct acrn_pio_request		pio_request;
		struct acrn_pci_request		pci_request;
		struct acrn_mmio_request	mmio_request;
		__u64				data[8];
	} reqs;
	__u32	reserved1;
	__u32	kernel_handled;
	__u32	processed;
} __attribute__((aligned(256)));

/**
 * struct acrn_io_request_buffer - the request page
 * @req_slot: the slots; that of vCPU n is req_slot[n]
 * @reserved: the page as bytes
 */
struct acrn_io_request_buffer {
	union {
		struct acrn_io_request	req_slot[ACRN_IO_REQUEST_MAX];
		__u8			reserved[4096];
	};
};

/**
 * struct acrn_ioreq_notify - argument of ACRN_IOCTL_NOTIFY_REQUEST_FINISH
 * @vmid: id of the VM of the open file
 * @reserved: 0
 * @vcpu: id of the vCPU whose request was handled
 */
struct acrn_ioreq_notify {
	__u16	vmid;
	__u16	reserved;
	__u32	vcpu;
};

/*
 * VMs and vCPUs
 */

/**
 * struct acrn_vm_creation - argument of ACRN_IOCTL_CREATE_VM
 * @vmid: output: id of the VM, relative to the Service VM
 * @reserved0: 0
 * @vcpu_num: output: number of vCPUs
 * @reserved1: 0
 * @uuid: identifies the VM in the hypervisor's configuration: a UUID, or in
 *	  later versions of ACRN a name padded with zeros
 * @vm_flag: flags of the hypervisor
 * @ioreq_buf: user address of the request page, aligned to 4096
 * @cpu_affinity: mask of the physical CPUs of the VM; each has one vCPU
 */
struct acrn_vm_creation {
	__u16	vmid;
	__u16	reserved0;
	__u16	vcpu_num;
	__u16	reserved1;
	__u8	uuid[16];
	__u64	vm_flag;
	__u64	ioreq_buf;
	__u64	cpu_affinity;
};

/**
 * struct acrn_gp_regs - general registers
 * @rax: RAX
 * @rcx: RCX
 * @rdx: RDX
 * @rbx: RBX
 * @rsp: RSP
 * @rbp: RBP
 * @rsi: RSI
 * @rdi: RDI
 * @r8: R8
 * @r9: R9
 * @r10: R10
 * @r11: R11
 * @r12: R12
 * @r13: R13
 * @r14: R14
 * @r15: R15
 *
 * The order is that of the encoding, except for RSP.
 */
struct acrn_gp_regs {
	__le64	rax;
	__le64	rcx;
	__le64	rdx;
	__le64	rbx;
	__le64	rsp;
	__le64	rbp;
	__le64	rsi;
	__le64	rdi;
	__le64	r8;
	__le64	r9;
	__le64	r10;
	__le64	r11;
	__le64	r12;
	__le64	r13;
	__le64	r14;
	__le64	r15;
};

/**
 * struct acrn_descriptor_ptr - GDTR or IDTR
 * @limit: size of the table in bytes, minus 1
 * @base: linear address of the table
 * @reserved: 0
 */
struct acrn_descriptor_ptr {
	__le16	limit;
	__le64	base;
	__le16	reserved[3];
} __attribute__((__packed__));

/**
 * struct acrn_regs - initial register state of a vCPU
 * @gprs: general registers
 * @gdt: GDTR
 * @idt: IDTR
 * @rip: RIP
 * @cs_base: CS: base
 * @cr0: CR0
 * @cr4: CR4
 * @cr3: CR3
 * @ia32_efer: the EFER MSR
 * @rflags: RFLAGS
 * @reserved_64: 0
 * @cs_ar: CS: access rights in the format of VMX
 * @cs_limit: CS: limit in bytes
 * @reserved_32: 0
 * @cs_sel: CS: selector
 * @ss_sel: SS: selector
 * @ds_sel: DS: selector
 * @es_sel: ES: selector
 * @fs_sel: FS: selector
 * @gs_sel: GS: selector
 * @ldt_sel: LDTR: selector
 * @tr_sel: TR: selector
 */
struct acrn_regs {
	struct acrn_gp_regs		gprs;
	struct acrn_descriptor_ptr	gdt;
	struct acrn_descriptor_ptr	idt;

	__le64				rip;
	__le64				cs_base;
	__le64				cr0;
	__le64				cr4;
	__le64				cr3;
	__le64				ia32_efer;
	__le64				rflags;
	__le64				reserved_64[4];

	__le32				cs_ar;
	__le32				cs_limit;
	__le32				reserved_32[3];

	__le16				cs_sel;
	__le16				ss_sel;
	__le16				ds_sel;
	__le16				es_sel;
	__le16				fs_sel;
	__le16				gs_sel;
	__le16				ldt_sel;
	__le16				tr_sel;
};

/**
 * struct acrn_vcpu_regs - argument of ACRN_IOCTL_SET_VCPU_REGS
 * @vcpu_id: id of the vCPU
 * @reserved: 0
 * @vcpu_regs: the registers
 */
struct acrn_vcpu_regs {
	__u16			vcpu_id;
	__u16			reserved[3];
	struct acrn_regs	vcpu_regs;
};

/*
 * Guest memory
 */

/* acrn_vm_memmap.attr: access rights of the guest */
#define	ACRN_MEM_ACCESS_RIGHT_MASK	0x00000007U
#define	ACRN_MEM_ACCESS_READ		0x00000001U
#define	ACRN_MEM_ACCESS_WRITE		0x00000002U
#define	ACRN_MEM_ACCESS_EXEC		0x00000004U
#define	ACRN_MEM_ACCESS_RWX		(ACRN_MEM_ACCESS_READ | \
					 ACRN_MEM_ACCESS_WRITE | \
					 ACRN_MEM_ACCESS_EXEC)

/* acrn_vm_memmap.attr: memory type, one of these */
#define	ACRN_MEM_TYPE_MASK		0x000007C0U
#define	ACRN_MEM_TYPE_WB		0x00000040U
#define	ACRN_MEM_TYPE_WT		0x00000080U
#define	ACRN_MEM_TYPE_UC		0x00000100U
#define	ACRN_MEM_TYPE_WC		0x00000200U
#define	ACRN_MEM_TYPE_WP		0x00000400U

/* acrn_vm_memmap.type */
#define	ACRN_MEMMAP_RAM			0
#define	ACRN_MEMMAP_MMIO		1

/**
 * struct acrn_vm_memmap - a segment of guest memory
 * @type: ACRN_MEMMAP_RAM: memory of the caller, from @vma_base on;
 *	  ACRN_MEMMAP_MMIO: device memory of the Service VM, from
 *	  @service_vm_pa on
 * @attr: ACRN_MEM_ACCESS_* and one of ACRN_MEM_TYPE_*. The driver ignores the
 *	  latter: RAM is mapped write-back, MMIO uncacheable
 * @user_vm_pa: guest-physical address in the User VM
 * @service_vm_pa: physical address in the Service VM
 * @vma_base: user address
 * @len: length in bytes, a multiple of 4096
 */
struct acrn_vm_memmap {
	__u32	type;
	__u32	attr;
	__u64	user_vm_pa;
	union {
		__u64	service_vm_pa;
		__u64	vma_base;
	};
	__u64	len;
};

/*
 * Passed-through devices, and devices that the hypervisor emulates
 */

/* acrn_ptdev_irq.type */
#define ACRN_PTDEV_IRQ_INTX	0
#define ACRN_PTDEV_IRQ_MSI	1
#define ACRN_PTDEV_IRQ_MSIX	2

/**
 * struct acrn_ptdev_irq - an interrupt of a passed-through device
 * @type: ACRN_PTDEV_IRQ_*
 * @virt_bdf: address in the User VM: bus << 8 | device << 3 | function
 * @phys_bdf: physical address
 * @intx: the line, for ACRN_PTDEV_IRQ_INTX
 * @intx.virt_pin: pin of the interrupt controller in the User VM
 * @intx.phys_pin: pin of the physical interrupt controller
 * @intx.is_pic_pin: if not 0, @intx.virt_pin is a pin of the PIC instead of the
 *		     I/O APIC
 */
struct acrn_ptdev_irq {
	__u32	type;
	__u16	virt_bdf;
	__u16	phys_bdf;
	struct {
		__u32	virt_pin;
		__u32	phys_pin;
		__u32	is_pic_pin;
	} intx;
};

/* acrn_pcidev.type: keep quirks of the firmware */
#define ACRN_PTDEV_QUIRK_ASSIGN	(1U << 0)

#define ACRN_MMIODEV_RES_NUM	3
#define ACRN_PCI_NUM_BARS	6

/**
 * struct acrn_pcidev - a passed-through PCI device
 * @type: 0 or ACRN_PTDEV_QUIRK_ASSIGN
 * @virt_bdf: address in the User VM: bus << 8 | device << 3 | function
 * @phys_bdf: physical address
 * @intr_line: the interrupt line register
 * @intr_pin: the interrupt pin register
 * @bar: the base address registers
 */
struct acrn_pcidev {
	__u32	type;
	__u16	virt_bdf;
	__u16	phys_bdf;
	__u8	intr_line;
	__u8	intr_pin;
	__u32	bar[ACRN_PCI_NUM_BARS];
};

/**
 * struct acrn_mmio_dev_res - a range of an MMIO device
 * @user_vm_pa: guest-physical address in the User VM
 * @service_vm_pa: physical address in the Service VM
 * @size: length in bytes
 * @mem_type: memory type
 */
struct acrn_mmio_dev_res {
	__u64	user_vm_pa;
	__u64	service_vm_pa;
	__u64	size;
	__u64	mem_type;
};

/**
 * struct acrn_mmiodev - a passed-through MMIO device
 * @name: name of the device, padded with zeros
 * @res: the ranges; one of size 0 is unused
 */
struct acrn_mmiodev {
	__u8				name[8];
	struct acrn_mmio_dev_res	res[ACRN_MMIODEV_RES_NUM];
};

/**
 * struct acrn_vdev - a device that the hypervisor emulates
 * @id: the type of the device
 * @id.value: the identifier as a number
 * @id.fields.vendor: PCI vendor id
 * @id.fields.device: PCI device id
 * @id.fields.legacy_id: number of a device that is not on PCI
 * @slot: address in the User VM: bus << 8 | device << 3 | function
 * @io_addr: base addresses of the ranges
 * @io_size: lengths of the ranges in bytes
 * @args: parameters, by the type of the device
 */
struct acrn_vdev {
	union {
		__u64	value;
		struct {
			__le16	vendor;
			__le16	device;
			__le32	legacy_id;
		} fields;
	} id;

	__u64	slot;
	__u32	io_addr[ACRN_PCI_NUM_BARS];
	__u32	io_size[ACRN_PCI_NUM_BARS];
	__u8	args[128];
};

/*
 * Interrupts
 */

/**
 * struct acrn_msi_entry - a message signalled interrupt
 * @msi_addr: address: 0xFEE in bits 31:20, destination in bits 19:12,
 *	      destination mode in bit 2
 * @msi_data: data: vector in bits 7:0, delivery mode in bits 10:8
 */
struct acrn_msi_entry {
	__u64	msi_addr;
	__u64	msi_data;
};

/*
 * Power management data of a physical CPU
 */

/**
 * struct acrn_acpi_generic_address - ACPI's Generic Address Structure
 * @space_id: address space
 * @bit_width: width of the register in bits
 * @bit_offset: first bit of the register
 * @access_size: 1 to 4: byte, word, double word, quad word
 * @address: address in the address space
 */
struct acrn_acpi_generic_address {
	__u8	space_id;
	__u8	bit_width;
	__u8	bit_offset;
	__u8	access_size;
	__u64	address;
} __attribute__((__packed__));

/**
 * struct acrn_cstate_data - an idle state, an entry of ACPI's _CST
 * @cx_reg: the register that enters the state
 * @type: the number of the ACPI state
 * @latency: worst-case latency to enter and leave the state, in microseconds
 * @power: average power in the state, in milliwatts
 */
struct acrn_cstate_data {
	struct acrn_acpi_generic_address	cx_reg;
	__u8					type;
	__u32					latency;
	__u64					power;
};

/**
 * struct acrn_pstate_data - a frequency state, an entry of ACPI's _PSS
 * @core_frequency: frequency in MHz
 * @power: power in milliwatts
 * @transition_latency: worst-case time in microseconds for which the CPU is
 *			unavailable during the transition
 * @bus_master_latency: worst-case time in microseconds for which bus masters
 *			cannot access memory during the transition
 * @control: value for the control register
 * @status: value of the status register after the transition
 */
struct acrn_pstate_data {
	__u64	core_frequency;
	__u64	power;
	__u64	transition_latency;
	__u64	bus_master_latency;
	__u64	control;
	__u64	status;
};

/*
 * The argument of ACRN_IOCTL_PM_GET_CPU_STATE points to a __u64 with a command:
 * type in bits 7:0, number of the state in bits 15:8, vCPU in bits 23:16, VM in
 * bits 31:24. The driver writes the answer to the same address.
 */
#define PMCMD_TYPE_MASK		0x000000ff

/**
 * enum acrn_pm_cmd_type - type of a command of ACRN_IOCTL_PM_GET_CPU_STATE
 * @ACRN_PMCMD_GET_PX_CNT: the number of P-states; the answer is a __u64
 * @ACRN_PMCMD_GET_PX_DATA: a P-state, numbered from 0; the answer is a struct
 *			    acrn_pstate_data
 * @ACRN_PMCMD_GET_CX_CNT: the number of C-states; the answer is a __u64
 * @ACRN_PMCMD_GET_CX_DATA: a C-state, numbered from 1; the answer is a struct
 *			    acrn_cstate_data
 */
enum acrn_pm_cmd_type {
	ACRN_PMCMD_GET_PX_CNT,
	ACRN_PMCMD_GET_PX_DATA,
	ACRN_PMCMD_GET_CX_CNT,
	ACRN_PMCMD_GET_CX_DATA,
};

/*
 * eventfds
 */

/* acrn_ioeventfd.flags */
#define ACRN_IOEVENTFD_FLAG_PIO		0x01
#define ACRN_IOEVENTFD_FLAG_DATAMATCH	0x02
#define ACRN_IOEVENTFD_FLAG_DEASSIGN	0x04

/**
 * struct acrn_ioeventfd - an eventfd that writes of the guest signal
 * @fd: file descriptor of the eventfd
 * @flags: ACRN_IOEVENTFD_FLAG_PIO: @addr is a port;
 *	   ACRN_IOEVENTFD_FLAG_DATAMATCH: only writes of @data signal;
 *	   ACRN_IOEVENTFD_FLAG_DEASSIGN: deassign
 * @addr: the port or address
 * @len: length of the access in bytes: 1, 2, 4 or 8
 * @reserved: 0
 * @data: the value that signals, with ACRN_IOEVENTFD_FLAG_DATAMATCH
 */
struct acrn_ioeventfd {
	__u32	fd;
	__u32	flags;
	__u64	addr;
	__u32	len;
	__u32	reserved;
	__u64	data;
};

/* acrn_irqfd.flags */
#define ACRN_IRQFD_FLAG_DEASSIGN	0x01

/**
 * struct acrn_irqfd - an eventfd whose signals interrupt the guest
 * @fd: file descriptor of the eventfd
 * @flags: 0, or ACRN_IRQFD_FLAG_DEASSIGN to deassign
 * @msi: the interrupt to inject
 */
struct acrn_irqfd {
	__s32			fd;
	__u32			flags;
	struct acrn_msi_entry	msi;
};

/*
 * The commands. An argument is a pointer to the structure that is named, unless
 * stated otherwise.
 */

#define ACRN_IOCTL_TYPE			0xA2

/* Lifecycle. CREATE_VM writes vmid and vcpu_num. Four have no argument. */
#define ACRN_IOCTL_CREATE_VM		\
	_IOWR(ACRN_IOCTL_TYPE, 0x10, struct acrn_vm_creation)
#define ACRN_IOCTL_DESTROY_VM		\
	_IO(ACRN_IOCTL_TYPE, 0x11)
#define ACRN_IOCTL_START_VM		\
	_IO(ACRN_IOCTL_TYPE, 0x12)
#define ACRN_IOCTL_PAUSE_VM		\
	_IO(ACRN_IOCTL_TYPE, 0x13)
#define ACRN_IOCTL_RESET_VM		\
	_IO(ACRN_IOCTL_TYPE, 0x15)
#define ACRN_IOCTL_SET_VCPU_REGS	\
	_IOW(ACRN_IOCTL_TYPE, 0x16, struct acrn_vcpu_regs)

/*
 * Interrupts. The argument of VM_INTR_MONITOR is the user address of a page.
 * The argument of SET_IRQLINE is a number, not a pointer: GSI in bits 31:0 and
 * operation in bits 63:32: 0 sets the line high, 1 low, 2 pulses it high and
 * 3 low.
 */
#define ACRN_IOCTL_INJECT_MSI		\
	_IOW(ACRN_IOCTL_TYPE, 0x23, struct acrn_msi_entry)
#define ACRN_IOCTL_VM_INTR_MONITOR	\
	_IOW(ACRN_IOCTL_TYPE, 0x24, unsigned long)
#define ACRN_IOCTL_SET_IRQLINE		\
	_IOW(ACRN_IOCTL_TYPE, 0x25, __u64)

/* I/O requests. ATTACH waits for requests. The last four have no argument. */
#define ACRN_IOCTL_NOTIFY_REQUEST_FINISH \
	_IOW(ACRN_IOCTL_TYPE, 0x31, struct acrn_ioreq_notify)
#define ACRN_IOCTL_CREATE_IOREQ_CLIENT	\
	_IO(ACRN_IOCTL_TYPE, 0x32)
#define ACRN_IOCTL_ATTACH_IOREQ_CLIENT	\
	_IO(ACRN_IOCTL_TYPE, 0x33)
#define ACRN_IOCTL_DESTROY_IOREQ_CLIENT	\
	_IO(ACRN_IOCTL_TYPE, 0x34)
#define ACRN_IOCTL_CLEAR_VM_IOREQ	\
	_IO(ACRN_IOCTL_TYPE, 0x35)

/* Guest memory */
#define ACRN_IOCTL_SET_MEMSEG		\
	_IOW(ACRN_IOCTL_TYPE, 0x41, struct acrn_vm_memmap)
#define ACRN_IOCTL_UNSET_MEMSEG		\
	_IOW(ACRN_IOCTL_TYPE, 0x42, struct acrn_vm_memmap)

/* Devices */
#define ACRN_IOCTL_SET_PTDEV_INTR	\
	_IOW(ACRN_IOCTL_TYPE, 0x53, struct acrn_ptdev_irq)
#define ACRN_IOCTL_RESET_PTDEV_INTR	\
	_IOW(ACRN_IOCTL_TYPE, 0x54, struct acrn_ptdev_irq)
#define ACRN_IOCTL_ASSIGN_PCIDEV	\
	_IOW(ACRN_IOCTL_TYPE, 0x55, struct acrn_pcidev)
#define ACRN_IOCTL_DEASSIGN_PCIDEV	\
	_IOW(ACRN_IOCTL_TYPE, 0x56, struct acrn_pcidev)
#define ACRN_IOCTL_ASSIGN_MMIODEV	\
	_IOW(ACRN_IOCTL_TYPE, 0x57, struct acrn_mmiodev)
#define ACRN_IOCTL_DEASSIGN_MMIODEV	\
	_IOW(ACRN_IOCTL_TYPE, 0x58, struct acrn_mmiodev)
#define ACRN_IOCTL_CREATE_VDEV		\
	_IOW(ACRN_IOCTL_TYPE, 0x59, struct acrn_vdev)
#define ACRN_IOCTL_DESTROY_VDEV		\
	_IOW(ACRN_IOCTL_TYPE, 0x5A, struct acrn_vdev)

/* Power management */
#define ACRN_IOCTL_PM_GET_CPU_STATE	\
	_IOWR(ACRN_IOCTL_TYPE, 0x60, __u64)

/* eventfds */
#define ACRN_IOCTL_IOEVENTFD		\
	_IOW(ACRN_IOCTL_TYPE, 0x70, struct acrn_ioeventfd)
#define ACRN_IOCTL_IRQFD		\
	_IOW(ACRN_IOCTL_TYPE, 0x71, struct acrn_irqfd)

#endif /* _UAPI_ACRN_H */
