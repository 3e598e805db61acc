// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

// The commands of /dev/acrn_hsm: the name that acrn.h gives to each, its number, its direction
// and the type of its argument. Included by the driver and by the crate acrn-uapi.
//
// io: no argument; iow: the driver reads the argument; iowr: it writes it as well.
macro_rules! for_each_command {
    ($callback:ident) => {
        $callback! {
            /// Creates a User VM. Writes the VM's id and number of vCPUs to the argument.
            ACRN_IOCTL_CREATE_VM = iowr(0x10, acrn_vm_creation);
            /// Destroys the User VM.
            ACRN_IOCTL_DESTROY_VM = io(0x11);
            /// Starts the User VM.
            ACRN_IOCTL_START_VM = io(0x12);
            /// Pauses the User VM.
            ACRN_IOCTL_PAUSE_VM = io(0x13);
            /// Resets the User VM to the state in which it was created.
            ACRN_IOCTL_RESET_VM = io(0x15);
            /// Sets the initial register state of a vCPU.
            ACRN_IOCTL_SET_VCPU_REGS = iow(0x16, acrn_vcpu_regs);
            /// Injects an MSI into the User VM.
            ACRN_IOCTL_INJECT_MSI = iow(0x23, acrn_msi_entry);
            /// Reads interrupt counts of the User VM's devices. The argument is the address of a
            /// page.
            ACRN_IOCTL_VM_INTR_MONITOR = iow(0x24, c_ulong);
            /// Drives an interrupt line. The argument is a number, not an address: GSI in bits
            /// 31:0, operation in bits 63:32.
            ACRN_IOCTL_SET_IRQLINE = iow(0x25, u64);
            /// Completes an I/O request.
            ACRN_IOCTL_NOTIFY_REQUEST_FINISH = iow(0x31, acrn_ioreq_notify);
            /// Makes the device model a client for I/O requests.
            ACRN_IOCTL_CREATE_IOREQ_CLIENT = io(0x32);
            /// Waits for I/O requests.
            ACRN_IOCTL_ATTACH_IOREQ_CLIENT = io(0x33);
            /// Destroys the client.
            ACRN_IOCTL_DESTROY_IOREQ_CLIENT = io(0x34);
            /// Completes all I/O requests as if no device existed.
            ACRN_IOCTL_CLEAR_VM_IOREQ = io(0x35);
            /// Maps memory into the User VM.
            ACRN_IOCTL_SET_MEMSEG = iow(0x41, acrn_vm_memmap);
            /// Unmaps memory from the User VM.
            ACRN_IOCTL_UNSET_MEMSEG = iow(0x42, acrn_vm_memmap);
            /// Connects an interrupt of a passed-through device.
            ACRN_IOCTL_SET_PTDEV_INTR = iow(0x53, acrn_ptdev_irq);
            /// Disconnects an interrupt of a passed-through device.
            ACRN_IOCTL_RESET_PTDEV_INTR = iow(0x54, acrn_ptdev_irq);
            /// Passes a PCI device through to the User VM.
            ACRN_IOCTL_ASSIGN_PCIDEV = iow(0x55, acrn_pcidev);
            /// Takes a PCI device back from the User VM.
            ACRN_IOCTL_DEASSIGN_PCIDEV = iow(0x56, acrn_pcidev);
            /// Passes an MMIO device through to the User VM.
            ACRN_IOCTL_ASSIGN_MMIODEV = iow(0x57, acrn_mmiodev);
            /// Takes an MMIO device back from the User VM.
            ACRN_IOCTL_DEASSIGN_MMIODEV = iow(0x58, acrn_mmiodev);
            /// Creates a device that the hypervisor emulates.
            ACRN_IOCTL_CREATE_VDEV = iow(0x59, acrn_vdev);
            /// Destroys a device that the hypervisor emulates.
            ACRN_IOCTL_DESTROY_VDEV = iow(0x5A, acrn_vdev);
            /// Reads power management data of a CPU. The argument holds the command, and then the
            /// answer.
            ACRN_IOCTL_PM_GET_CPU_STATE = iowr(0x60, u64);
            /// Makes writes of the guest signal an eventfd.
            ACRN_IOCTL_IOEVENTFD = iow(0x70, acrn_ioeventfd);
            /// Makes signals of an eventfd interrupt the guest.
            ACRN_IOCTL_IRQFD = iow(0x71, acrn_irqfd);
        }
    };
}
