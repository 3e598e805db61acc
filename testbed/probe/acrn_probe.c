// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/acrn_probe: lets a test in the Service VM issue any hypercall.
 *
 * For the test-bed only. testbed/README.md describes the interface. The module is in
 * C, as Rust would need bindings for nearly all of it.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct acrn_probe_call {
	__u32 id;
	__u32 page_is_p2;
	__u64 p1;
	__u64 p2;
	__u64 buf;
	__s64 result;
};

#define ACRN_PROBE_CALL _IOWR(0xA3, 0x01, struct acrn_probe_call)

/* The kernel's acrn_hypercall2() accepts constant ids only. */
static long vmcall(u32 id, u64 p1, u64 p2)
{
	register u64 r8 asm("r8") = id;
	long result;

	asm volatile("vmcall"
		     : "=a" (result)
		     : "r" (r8), "D" (p1), "S" (p2)
		     : "memory");
	return result;
}

static long probe_hypercall(struct acrn_probe_call *call)
{
	void __user *user = u64_to_user_ptr(call->buf);
	u64 p1 = call->p1, p2 = call->p2;
	void *page = NULL;
	long ret = 0;

	if (user) {
		page = memdup_user(user, PAGE_SIZE);
		if (IS_ERR(page))
			return PTR_ERR(page);
		if (call->page_is_p2)
			p2 = virt_to_phys(page);
		else
			p1 = virt_to_phys(page);
	}

	call->result = vmcall(call->id, p1, p2);

	if (page && copy_to_user(user, page, PAGE_SIZE))
		ret = -EFAULT;
	kfree(page);
	return ret;
}

static long probe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct acrn_probe_call call;
	long ret;

	if (cmd != ACRN_PROBE_CALL)
		return -ENOTTY;
	if (copy_from_user(&call, user, sizeof(call)))
		return -EFAULT;
	ret = probe_hypercall(&call);
	if (!ret && copy_to_user(user, &call, sizeof(call)))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = probe_ioctl,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "acrn_probe",
	.fops = &probe_fops,
	.mode = 0600,
};
module_misc_device(probe_device);

MODULE_DESCRIPTION("Hypercalls from user space, for the ACRN HSM test-bed");
MODULE_LICENSE("GPL");
