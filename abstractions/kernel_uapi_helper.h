/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's own UAPI header, which ../uapi/acrn.h must agree with. */
#include <linux/acrn.h>
