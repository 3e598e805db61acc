// SPDX-License-Identifier: GPL-2.0

//! sysfs attribute `remove_cpu`: gives a CPU of the Service VM to the hypervisor, for User VMs.

use crate::{
    abstractions::{
        cpu_hotplug::HotplugCpu,
        device_attribute::{
            AttributeGroups,
            WriteOnlyAttribute, //
        },
        ratelimit::pr_err_ratelimited, //
    },
    hypercall,
};
use kernel::{
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    },
};

/// Returns the attributes of the device.
pub(crate) fn attributes() -> Option<&'static AttributeGroups> {
    static ATTRIBUTES: AttributeGroups = AttributeGroups::new::<RemoveCpu>(&ATTRIBUTES);
    cfg!(CONFIG_HOTPLUG_CPU).then_some(&ATTRIBUTES)
}

/// Takes the number of a CPU. A write fails with `EINVAL` if there is no such CPU or it must stay
/// online, and otherwise as [`HotplugCpu::while_offline`].
struct RemoveCpu;

impl WriteOnlyAttribute for RemoveCpu {
    const NAME: &'static CStr = c"remove_cpu";

    fn store(text: &BStr) -> Result {
        let number = text.strip_suffix(b"\n").unwrap_or(text);
        let number = u64::from_str(BStr::from_bytes(number)).map_err(|_| EINVAL)?;
        let cpu = HotplugCpu::new(number).ok_or(EINVAL)?;
        let removed = cpu.while_offline(hypercall::service_vm_offline_cpu);
        removed.inspect_err(|error| {
            pr_err_ratelimited!("CPU {}: cannot be removed: {:?}\n", cpu, error);
            if cpu.bring_online().is_err() {
                pr_err_ratelimited!("CPU {}: cannot be brought back online\n", cpu);
            }
        })
    }
}
