// SPDX-License-Identifier: GPL-2.0

//! Makes a mistake when it is loaded, that the kernel reports. A check that runs at the same
//! time must fail.
//!
//! For the test-bed only. The mistakes are made in Rust, like those of a driver in Rust.

use kernel::{
    interrupt::local_interrupt_disable, module_param::ModuleParamAccess, new_mutex, new_spinlock,
    prelude::*,
};

module! {
    type: Mistake,
    name: "acrn_mistake",
    authors: ["The ACRN HSM test-bed"],
    description: "Mistakes that the kernel reports, for the ACRN HSM test-bed",
    license: "GPL",
    params: {
        warning: bool {
            default: false,
            description: "warn of something",
        },
        use_after_free: bool {
            default: false,
            description: "read memory that is free",
        },
        leak: bool {
            default: false,
            description: "forget memory",
        },
        lock_order: bool {
            default: false,
            description: "take two locks in both orders",
        },
        sleep: bool {
            default: false,
            description: "take a mutex with interrupts off",
        },
        sleeping_lock: bool {
            default: false,
            description: "take a spinlock with interrupts off, which sleeps on PREEMPT_RT",
        },
    },
}

struct Mistake;

impl kernel::Module for Mistake {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mistakes: [(&ModuleParamAccess<bool>, fn() -> Result); 6] = [
            (&module_parameters::warning, warning),
            (&module_parameters::use_after_free, use_after_free),
            (&module_parameters::leak, leak),
            (&module_parameters::lock_order, lock_order),
            (&module_parameters::sleep, sleep),
            (&module_parameters::sleeping_lock, sleeping_lock),
        ];
        for (is_wanted, make) in mistakes {
            if is_wanted.value() {
                make()?;
            }
        }
        Ok(Self)
    }
}

fn warning() -> Result {
    kernel::warn_on!(true);
    Ok(())
}

fn use_after_free() -> Result {
    let freed = {
        let number = KBox::new(0u64, GFP_KERNEL)?;
        &raw const *number
    };
    // SAFETY: This is the mistake, and not safe. The slab keeps its page, so the read does not
    // fault.
    unsafe { freed.read_volatile() };
    Ok(())
}

fn leak() -> Result {
    // Several objects: a stale value on a stack may look like a pointer to one of them.
    for number in 0..4u64 {
        KBox::leak(KBox::new([number; 32], GFP_KERNEL)?);
    }
    Ok(())
}

fn lock_order() -> Result {
    let first = KBox::pin_init(new_mutex!(0, "acrn_mistake::first"), GFP_KERNEL)?;
    let second = KBox::pin_init(new_mutex!(0, "acrn_mistake::second"), GFP_KERNEL)?;
    for [outer, inner] in [[&first, &second], [&second, &first]] {
        let _outer = outer.lock();
        let _inner = inner.lock();
    }
    Ok(())
}

fn sleep() -> Result {
    let mutex = KBox::pin_init(new_mutex!(0, "acrn_mistake::mutex"), GFP_KERNEL)?;
    let _off = local_interrupt_disable();
    let _guard = mutex.lock();
    Ok(())
}

fn sleeping_lock() -> Result {
    let lock = KBox::pin_init(new_spinlock!(0, "acrn_mistake::lock"), GFP_KERNEL)?;
    let _off = local_interrupt_disable();
    let _guard = lock.lock();
    Ok(())
}
