/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a program in the Service VM and the ACRN HSM driver say to each other through /dev/acrn_hsm.
 *
 * Names, numbers and layout are those of <linux/acrn.h>, so a program built against either header runs on
 * either driver. Everything is little-endian. Every "reserved" field is to be zero.
 *
 * One open file stands for at most one User VM at a time: ACRN_IOCTL_CREATE_VM makes it, the other requests
 * act on it, and ACRN_IOCTL_DESTROY_VM or the last close() takes it down.
 *
 * "Address" without more is a guest-physical address of the User VM.
 */
#ifndef _UAPI_ACRN_H
#define _UAPI_ACRN_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * I/O requests
 *
 * A page of 16 slots, one a vCPU, shared by the hypervisor, the driver and the device model, which
 * allocates it and names it in ACRN_IOCTL_CREATE_VM. A slot goes round
 *
 *	FREE -> PENDING -> PROCESSING -> COMPLETE -> FREE
 *
 * and belongs to one party at each step:
 *
 *	FREE -> PENDING		hypervisor: a vCPU touched a port or an address that nothing backs; it waits.
 *				The slot is filled in before the state changes, then the upcall fires.
 *	PENDING -> PROCESSING	driver: picked a client for the slot
 *	PROCESSING -> COMPLETE	driver: the client is done, and a value that was read is in the slot.
 *				A device model asks for this step by ACRN_IOCTL_NOTIFY_REQUEST_FINISH.
 *	COMPLETE -> FREE	hypervisor: took the value, the vCPU runs on
 *
 * All accesses to the state are atomic: load with acquire, store with release.
 * A vCPU has one request open at most.
 */

/* Slots in the page, which is also the most vCPUs a User VM can have */
#define ACRN_IO_REQUEST_MAX		16

/* acrn_io_request.processed */
#define ACRN_IOREQ_STATE_PENDING	0
#define ACRN_IOREQ_STATE_COMPLETE	1
#define ACRN_IOREQ_STATE_PROCESSING	2
#define ACRN_IOREQ_STATE_FREE		3

/* acrn_io_request.type, which says what member of acrn_io_request.reqs counts */
#define ACRN_IOREQ_TYPE_PORTIO		0
#define ACRN_IOREQ_TYPE_MMIO		1
#define ACRN_IOREQ_TYPE_PCICFG		2

/* .direction of all three: does the vCPU wait for a value, or bring one */
#define ACRN_IOREQ_DIR_READ		0
#define ACRN_IOREQ_DIR_WRITE		1

/**
 * struct acrn_mmio_request - an access to an address that no memory backs
 * @direction: ACRN_IOREQ_DIR_*
 * @reserved: zero
 * @address: first byte touched
 * @size: bytes: 1, 2, 4 or 8
 * @value: the value written, or where the answer to a read goes
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
 * @reserved: zero
 * @address: first port touched
 * @size: bytes: 1, 2 or 4
 * @value: the value written, or where the answer to a read goes
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
 * @reserved: zero
 * @size: bytes: 1, 2 or 4
 * @value: the value written, or where the answer to a read goes
 * @bus: bus number
 * @dev: device number
 * @func: function number
 * @reg: first byte touched in the function's configuration space
 *
 * The driver makes these from accesses to the ports 0xCF8 and 0xCFC in place, so @direction, @size and
 * @value lie where struct acrn_pio_request has them.
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
 * struct acrn_io_request - one slot of the page: an access that a vCPU waits for
 * @type: ACRN_IOREQ_TYPE_*
 * @completion_polling: not zero: the hypervisor looks for COMPLETE itself and wants no notification
 * @reserved0: zero
 * @reqs: the access, 64 bytes into the slot
 * @reserved1: zero
 * @kernel_handled: not zero: the driver answers this one by itself; a device model leaves it alone
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
 * struct acrn_io_request_buffer - the page of slots
 * @req_slot: the slot of vCPU n is req_slot[n]
 * @reserved: the page as bytes
 */
struct acrn_io_request_buffer {
	union {
		struct acrn_io_request	req_slot[ACRN_IO_REQUEST_MAX];
		__u8			reserved[4096];
	};
};

/**
 * struct acrn_ioreq_notify - says that a request has been served
 * @vmid: which VM: the one of the open file
 * @reserved: zero
 * @vcpu: whose slot
 */
struct acrn_ioreq_notify {
	__u16	vmid;
	__u16	reserved;
	__u32	vcpu;
};

/*
 * A VM and its vCPUs
 */

/**
 * struct acrn_vm_creation - what ACRN_IOCTL_CREATE_VM asks for, and gets
 * @vmid: out: the VM's number, relative to the Service VM
 * @reserved0: zero
 * @vcpu_num: out: how many vCPUs it has
 * @reserved1: zero
 * @uuid: by what the hypervisor knows the VM: a UUID, or in later versions a name padded with zeros
 * @vm_flag: the hypervisor's flags for a VM
 * @ioreq_buf: in: where the I/O request page lies in the caller's address space, aligned to 4096
 * @cpu_affinity: physical CPUs for the VM, bit n for CPU n, one a vCPU
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
 * In the order of the registers' encoding, but for RSP.
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
 * @limit: size of the table in bytes, less one
 * @base: linear address of the table
 * @reserved: zero
 */
struct acrn_descriptor_ptr {
	__le16	limit;
	__le64	base;
	__le16	reserved[3];
} __attribute__((__packed__));

/**
 * struct acrn_regs - the state that a vCPU starts from
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
 * @reserved_64: zero
 * @cs_ar: CS: access rights, as VMX has them
 * @cs_limit: CS: limit in bytes
 * @reserved_32: zero
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
 * struct acrn_vcpu_regs - the state that one vCPU starts from
 * @vcpu_id: which vCPU
 * @reserved: zero
 * @vcpu_regs: its registers
 */
struct acrn_vcpu_regs {
	__u16			vcpu_id;
	__u16			reserved[3];
	struct acrn_regs	vcpu_regs;
};

/*
 * Guest memory
 */

/* acrn_vm_memmap.attr: what the guest may do there ... */
#define	ACRN_MEM_ACCESS_RIGHT_MASK	0x00000007U
#define	ACRN_MEM_ACCESS_READ		0x00000001U
#define	ACRN_MEM_ACCESS_WRITE		0x00000002U
#define	ACRN_MEM_ACCESS_EXEC		0x00000004U
#define	ACRN_MEM_ACCESS_RWX		(ACRN_MEM_ACCESS_READ | \
					 ACRN_MEM_ACCESS_WRITE | \
					 ACRN_MEM_ACCESS_EXEC)

/* ... and how the CPU caches it: one of these */
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
 * struct acrn_vm_memmap - a range of the User VM's address space and what backs it
 * @type: ACRN_MEMMAP_RAM: the caller's own memory, from @vma_base; ACRN_MEMMAP_MMIO: device memory of the
 *	  Service VM, from @service_vm_pa
 * @attr: ACRN_MEM_ACCESS_* and one ACRN_MEM_TYPE_*
 * @user_vm_pa: where it appears in the User VM
 * @service_vm_pa: Service VM's guest-physical address of what backs it
 * @vma_base: address of what backs it in the caller's address space
 * @len: bytes, a multiple of 4096
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
 * Devices that pass through to the User VM, and devices that the hypervisor plays
 */

/* acrn_ptdev_irq.type */
#define ACRN_PTDEV_IRQ_INTX	0
#define ACRN_PTDEV_IRQ_MSI	1
#define ACRN_PTDEV_IRQ_MSIX	2

/**
 * struct acrn_ptdev_irq - the interrupt of a device that passes through
 * @type: ACRN_PTDEV_IRQ_*
 * @virt_bdf: the device in the User VM: bus << 8 | device << 3 | function
 * @phys_bdf: the device in the machine
 * @intx: the line, for ACRN_PTDEV_IRQ_INTX
 * @intx.virt_pin: interrupt controller pin in the User VM
 * @intx.phys_pin: interrupt controller pin of the machine
 * @intx.is_pic_pin: not zero: @intx.virt_pin is a pin of the PIC, not of the IOAPIC
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

/* acrn_pcidev.type: the device keeps quirks of the machine's firmware */
#define ACRN_PTDEV_QUIRK_ASSIGN	(1U << 0)

#define ACRN_MMIODEV_RES_NUM	3
#define ACRN_PCI_NUM_BARS	6

/**
 * struct acrn_pcidev - a PCI device to pass through, or to take back
 * @type: 0 or ACRN_PTDEV_QUIRK_ASSIGN
 * @virt_bdf: where it appears in the User VM: bus << 8 | device << 3 | function
 * @phys_bdf: where it is in the machine
 * @intr_line: its interrupt line register
 * @intr_pin: its interrupt pin register
 * @bar: its base address registers
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
 * struct acrn_mmio_dev_res - one range of device memory
 * @user_vm_pa: where it appears in the User VM
 * @service_vm_pa: where it is in the Service VM
 * @size: bytes
 * @mem_type: how the CPU caches it
 */
struct acrn_mmio_dev_res {
	__u64	user_vm_pa;
	__u64	service_vm_pa;
	__u64	size;
	__u64	mem_type;
};

/**
 * struct acrn_mmiodev - a device known by its memory ranges to pass through, or to take back
 * @name: name of the device, padded with zeros
 * @res: its ranges; one of size 0 is not used
 */
struct acrn_mmiodev {
	__u8				name[8];
	struct acrn_mmio_dev_res	res[ACRN_MMIODEV_RES_NUM];
};

/**
 * struct acrn_vdev - a device that the hypervisor plays for the User VM
 * @id: what device
 * @id.value: the identifier whole
 * @id.fields.vendor: PCI vendor id
 * @id.fields.device: PCI device id
 * @id.fields.legacy_id: number of a device that is not on PCI
 * @slot: where it appears in the User VM: bus << 8 | device << 3 | function
 * @io_addr: base addresses of its ranges
 * @io_size: sizes of its ranges in bytes
 * @args: whatever this kind of device wants to know
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
 * @msi_addr: the address written to: 0xFEE in bits 31:20, destination in 19:12, destination mode in bit 2
 * @msi_data: the value written: vector in bits 7:0, delivery mode in 10:8
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
 * @address: address in that space
 */
struct acrn_acpi_generic_address {
	__u8	space_id;
	__u8	bit_width;
	__u8	bit_offset;
	__u8	access_size;
	__u64	address;
} __attribute__((__packed__));

/**
 * struct acrn_cstate_data - one entry of ACPI's _CST
 * @cx_reg: the register that enters the state
 * @type: n of the ACPI state Cn
 * @latency: microseconds to enter and leave it, at worst
 * @power: average power in it, in milliwatts
 */
struct acrn_cstate_data {
	struct acrn_acpi_generic_address	cx_reg;
	__u8					type;
	__u32					latency;
	__u64					power;
};

/**
 * struct acrn_pstate_data - one entry of ACPI's _PSS
 * @core_frequency: megahertz
 * @power: milliwatts
 * @transition_latency: microseconds that the CPU is away on the way into this state, at worst
 * @bus_master_latency: microseconds that bus masters find no memory on the way, at worst
 * @control: value for the control register
 * @status: value that the status register then shows
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
 * The command that ACRN_IOCTL_PM_GET_CPU_STATE reads where its argument points, before it puts the answer
 * there: what in bits 7:0, state number in 15:8, vCPU in 23:16, VM in 31:24.
 */
#define PMCMD_TYPE_MASK		0x000000ff

/**
 * enum acrn_pm_cmd_type - what ACRN_IOCTL_PM_GET_CPU_STATE can be asked
 * @ACRN_PMCMD_GET_PX_CNT: how many P-states there are; the answer is a __u64
 * @ACRN_PMCMD_GET_PX_DATA: one P-state; the answer is a struct acrn_pstate_data
 * @ACRN_PMCMD_GET_CX_CNT: how many C-states there are; the answer is a __u64
 * @ACRN_PMCMD_GET_CX_DATA: one C-state, counted from 1; the answer is a struct acrn_cstate_data
 */
enum acrn_pm_cmd_type {
	ACRN_PMCMD_GET_PX_CNT,
	ACRN_PMCMD_GET_PX_DATA,
	ACRN_PMCMD_GET_CX_CNT,
	ACRN_PMCMD_GET_CX_DATA,
};

/*
 * eventfds instead of round trips
 */

/* acrn_ioeventfd.flags */
#define ACRN_IOEVENTFD_FLAG_PIO		0x01
#define ACRN_IOEVENTFD_FLAG_DATAMATCH	0x02
#define ACRN_IOEVENTFD_FLAG_DEASSIGN	0x04

/**
 * struct acrn_ioeventfd - an eventfd that a guest's write signals
 * @fd: the eventfd
 * @flags: ACRN_IOEVENTFD_FLAG_*: ports instead of addresses; only if the value is @data; undo
 * @addr: the port or address
 * @len: bytes of the access: 1, 2, 4 or 8
 * @reserved: zero
 * @data: the value, with ACRN_IOEVENTFD_FLAG_DATAMATCH
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
 * struct acrn_irqfd - an eventfd that interrupts the guest
 * @fd: the eventfd
 * @flags: 0, or ACRN_IRQFD_FLAG_DEASSIGN to undo
 * @msi: the interrupt
 */
struct acrn_irqfd {
	__s32			fd;
	__u32			flags;
	struct acrn_msi_entry	msi;
};

/*
 * The requests. An argument is a pointer to the structure named, unless the comment says otherwise.
 */

#define ACRN_IOCTL_TYPE			0xA2

/* Lifecycle. CREATE_VM writes vmid and vcpu_num back; the next four take no argument. */
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
 * Interrupts. VM_INTR_MONITOR takes the address of a page of the caller's. SET_IRQLINE takes a number, not
 * a pointer: GSI in bits 31:0, and above it 0 for high, 1 for low, 2 for a pulse up, 3 for a pulse down.
 */
#define ACRN_IOCTL_INJECT_MSI		\
	_IOW(ACRN_IOCTL_TYPE, 0x23, struct acrn_msi_entry)
#define ACRN_IOCTL_VM_INTR_MONITOR	\
	_IOW(ACRN_IOCTL_TYPE, 0x24, unsigned long)
#define ACRN_IOCTL_SET_IRQLINE		\
	_IOW(ACRN_IOCTL_TYPE, 0x25, __u64)

/* I/O requests. ATTACH blocks until there are some; the last four take no argument. */
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

/* Power management: a command goes in, its answer comes out where it was */
#define ACRN_IOCTL_PM_GET_CPU_STATE	\
	_IOWR(ACRN_IOCTL_TYPE, 0x60, __u64)

/* eventfds */
#define ACRN_IOCTL_IOEVENTFD		\
	_IOW(ACRN_IOCTL_TYPE, 0x70, struct acrn_ioeventfd)
#define ACRN_IOCTL_IRQFD		\
	_IOW(ACRN_IOCTL_TYPE, 0x71, struct acrn_irqfd)

#endif /* _UAPI_ACRN_H */
