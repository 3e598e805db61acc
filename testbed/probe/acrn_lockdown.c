// SPDX-License-Identifier: GPL-2.0
/*
 * While this module is loaded, security_locked_down() refuses LOCKDOWN_DEV_MEM:
 * that user space chooses physical addresses.
 *
 * For the test-bed only. The kernel's own lockdown cannot be disabled again, and
 * requires signed modules.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/security.h>

static int entered(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	/* If this returns 0, the return handler runs. */
	return regs_get_kernel_argument(regs, 0) != LOCKDOWN_DEV_MEM;
}

static int returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs_set_return_value(regs, -EPERM);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "security_locked_down",
	.entry_handler = entered,
	.handler = returns,
	.maxactive = 64,
};

static int __init lockdown_init(void)
{
	return register_kretprobe(&probe);
}
module_init(lockdown_init);

static void __exit lockdown_exit(void)
{
	unregister_kretprobe(&probe);
}
module_exit(lockdown_exit);

MODULE_DESCRIPTION("Lockdown that a test turns on and off, for the ACRN HSM test-bed");
MODULE_LICENSE("GPL");
