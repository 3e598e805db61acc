// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

// The layout of the structures of acrn.h, as the hypervisor and existing programs use them: size,
// alignment and offsets in bytes. Included by the driver, which compares it with the kernel's own
// header as well, and by the crate acrn-uapi.
macro_rules! for_each_layout {
    ($callback:ident) => {
        $callback! {
            acrn_mmio_request: 32 / 8 {
                direction @ 0, reserved @ 4, address @ 8, size @ 16, value @ 24,
            }
            acrn_pio_request: 32 / 8 {
                direction @ 0, reserved @ 4, address @ 8, size @ 16, value @ 24,
            }
            acrn_pci_request: 48 / 8 {
                direction @ 0, reserved @ 4, size @ 16, value @ 24, bus @ 28, dev @ 32, func @ 36,
                reg @ 40,
            }
            acrn_io_request__bindgen_ty_1: 64 / 8 {
                pio_request @ 0, pci_request @ 0, mmio_request @ 0, data @ 0,
            }
            acrn_io_request: 256 / 256 {
                type_ @ 0, completion_polling @ 4, reserved0 @ 8, reqs @ 64, reserved1 @ 128,
                kernel_handled @ 132, processed @ 136,
            }
            acrn_io_request_buffer: 4096 / 256 {}
            acrn_ioreq_notify: 8 / 4 { vmid @ 0, reserved @ 2, vcpu @ 4 }
            acrn_vm_creation: 48 / 8 {
                vmid @ 0, reserved0 @ 2, vcpu_num @ 4, reserved1 @ 6, uuid @ 8, vm_flag @ 24,
                ioreq_buf @ 32, cpu_affinity @ 40,
            }
            acrn_gp_regs: 128 / 8 {
                rax @ 0, rcx @ 8, rdx @ 16, rbx @ 24, rsp @ 32, rbp @ 40, rsi @ 48, rdi @ 56,
                r8 @ 64, r9 @ 72, r10 @ 80, r11 @ 88, r12 @ 96, r13 @ 104, r14 @ 112, r15 @ 120,
            }
            acrn_descriptor_ptr: 16 / 1 { limit @ 0, base @ 2, reserved @ 10 }
            acrn_regs: 288 / 8 {
                gprs @ 0, gdt @ 128, idt @ 144, rip @ 160, cs_base @ 168, cr0 @ 176, cr4 @ 184,
                cr3 @ 192, ia32_efer @ 200, rflags @ 208, reserved_64 @ 216, cs_ar @ 248,
                cs_limit @ 252, reserved_32 @ 256, cs_sel @ 268, ss_sel @ 270, ds_sel @ 272,
                es_sel @ 274, fs_sel @ 276, gs_sel @ 278, ldt_sel @ 280, tr_sel @ 282,
            }
            acrn_vcpu_regs: 296 / 8 { vcpu_id @ 0, reserved @ 2, vcpu_regs @ 8 }
            acrn_vm_memmap: 32 / 8 {
                type_ @ 0, attr @ 4, user_vm_pa @ 8, __bindgen_anon_1 @ 16, len @ 24,
            }
            acrn_ptdev_irq__bindgen_ty_1: 12 / 4 { virt_pin @ 0, phys_pin @ 4, is_pic_pin @ 8 }
            acrn_ptdev_irq: 20 / 4 { type_ @ 0, virt_bdf @ 4, phys_bdf @ 6, intx @ 8 }
            acrn_pcidev: 36 / 4 {
                type_ @ 0, virt_bdf @ 4, phys_bdf @ 6, intr_line @ 8, intr_pin @ 9, bar @ 12,
            }
            acrn_mmio_dev_res: 32 / 8 {
                user_vm_pa @ 0, service_vm_pa @ 8, size @ 16, mem_type @ 24,
            }
            acrn_mmiodev: 104 / 8 { name @ 0, res @ 8 }
            acrn_vdev__bindgen_ty_1__bindgen_ty_1: 8 / 4 { vendor @ 0, device @ 2, legacy_id @ 4 }
            acrn_vdev: 192 / 8 { id @ 0, slot @ 8, io_addr @ 16, io_size @ 40, args @ 64 }
            acrn_msi_entry: 16 / 8 { msi_addr @ 0, msi_data @ 8 }
            acrn_acpi_generic_address: 12 / 1 {
                space_id @ 0, bit_width @ 1, bit_offset @ 2, access_size @ 3, address @ 4,
            }
            acrn_cstate_data: 32 / 8 { cx_reg @ 0, type_ @ 12, latency @ 16, power @ 24 }
            acrn_pstate_data: 48 / 8 {
                core_frequency @ 0, power @ 8, transition_latency @ 16, bus_master_latency @ 24,
                control @ 32, status @ 40,
            }
            acrn_ioeventfd: 32 / 8 {
                fd @ 0, flags @ 4, addr @ 8, len @ 16, reserved @ 20, data @ 24,
            }
            acrn_irqfd: 24 / 8 { fd @ 0, flags @ 4, msi @ 8 }
        }
    };
}
