/* SPDX-License-Identifier: GPL-2.0 */
/* The input of bindgen for bindings.rs. */
#include <asm/cpufeature.h>
#include <asm/acrn.h>
#include <asm/hypervisor.h>
#include <asm/tsc.h>
#include <linux/eventfd.h>

#include "helpers.h"
#include "tracepoints.h"
#include "../uapi/acrn.h"
