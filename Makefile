# SPDX-License-Identifier: GPL-2.0
#
# For people. What the kernel's build reads is Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
# Where the driver is built; the kernel's `make O=`, for a module.
MO ?= $(CURDIR)/build

BINDGEN ?= bindgen
RUSTFMT ?= rustfmt

.PHONY: help
help:
	@echo 'The driver, for a kernel of yours (KDIR=$(KDIR)):'
	@echo '  modules          build acrn.ko in MO=$(MO)'
	@echo '  modules_install  install it (INSTALL_MOD_PATH=... below another root)'
	@echo '  clippy           build it with the linter, warnings are errors'
	@echo '  rustdoc          its pages, in MO/doc; warnings are errors'
	@echo '  rustfmt          format the driver; rustfmtcheck: only look'
	@echo '  clean            remove what was built'
	@echo '  Also: RUSTC=... BINDGEN=... (defaults: the rustc that built the kernel, bindgen),'
	@echo '  and for a kernel that clang built LLVM=... as for the kernel (default: 1)'
	@echo
	@echo 'The test-bed, on any x86-64 Debian machine:'
	@echo '  run              boot ACRN, its Service VM and a Linux User VM, on this terminal'
	@echo '                   (INTERACTIVE=1: the User VM stays up until you type poweroff)'
	@echo '  check            run every test (ONLY=PROGRAM: that program of selftests/, nothing else;'
	@echo '                   ONLY=PROGRAM.TEST,TEST: those tests of it; ONLY=reboot: the Service VM'
	@echo '                   reboots with User VMs;'
	@echo '                   DRIVER=c with it: on the C driver of upstream;'
	@echo '                   SEED=N: in the order of that seed, which each run shows; SECONDS=N: so'
	@echo '                   long for tests that can go on for any time)'
	@echo '  compare          record anew what our driver and upstream'\''s do, in testbed/record; fails if'
	@echo '                   that changed (ONLY=PROGRAM: of that program; ONLY=transcript: the cases of'
	@echo '                   both drivers, takes some minutes)'
	@echo '  bench            what the paths through our driver and upstream'\''s cost, in instructions, into'
	@echo '                   Documentation and README; fails if ours misses a target (ONLY=P1,P4: those'
	@echo '                   paths, on the screen only)'
	@echo '  check-debug      the selftests on a kernel with KASAN, kmemleak, lockdep and more: any complaint'
	@echo '                   of the kernel is a failure (slow; ONLY=... as above)'
	@echo '  check-rt         the same on a real-time kernel (PREEMPT_RT) that watches its locks'
	@echo '                   (ONLY=mistakes with these two, and with check: whether the check sees mistakes)'
	@echo '  mutants          slips in the driver, one at a time, which the tests must see: an hour or two,'
	@echo '                   interrupted it goes on from what is known (ONLY=AREA or ONLY=AREA/NAME:'
	@echo '                   these of testbed/mutants; FRESH=1: as if nothing were known)'
	@echo '  setup            only what the others do first'
	@echo '  distclean-cache  remove all that the set-up has made'
	@echo '  Kernel, tools and results are kept in $${ACRN_HSM_CACHE:-~/.cache/acrn-hsm}.'

# The driver ------------------------------------------------------------------

# The sources that are ours to format: those that the kernel's build compiles, the others are cargo's.
driver-sources = $(wildcard $(CURDIR)/testbed/probe/*.rs) $(shell find $(CURDIR) -name '*.rs' ! -name '*generated*' \
	! -path '$(CURDIR)/build/*' ! -path '$(CURDIR)/selftests/*' \
	! -path '$(CURDIR)/testbed/*' ! -path '$(CURDIR)/uapi/*' \
	! -path '$(CURDIR)/userspace/*' ! -path '$(CURDIR)/target/*')
kernel-goals := modules modules_install clippy rustdoc

ifneq ($(filter $(kernel-goals),$(MAKECMDGOALS)),)
# The kernel's own word on how it is configured, by which compilers.
-include $(KDIR)/include/config/auto.conf

# A module must be built by the rustc that built the kernel: take it from
# wherever it is, the PATH or Debian's own place.
kernel-rustc := $(subst ",,$(CONFIG_RUSTC_VERSION_TEXT))
ifeq ($(origin RUSTC),undefined)
RUSTC := $(firstword $(foreach r,$(shell command -v rustc) /usr/bin/rustc, \
	$(if $(filter-out x,x$(findstring $(kernel-rustc),$(shell $(r) --version 2>/dev/null))),$(r))) rustc)
endif
found-rustc := $(shell $(RUSTC) --version 2>/dev/null)

kbuild = +@$(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(abspath $(MO)) \
	$(if $(CONFIG_CC_IS_CLANG),LLVM=$(or $(LLVM),1)) RUSTC=$(RUSTC) HOSTRUSTC=$(RUSTC) \
	BINDGEN=$(BINDGEN) RUSTFMT=$(RUSTFMT) \
	$(foreach tool,RUSTDOC:rustdoc CLIPPY_DRIVER:clippy-driver,$(call beside-rustc,$(tool)))
# VARIABLE:program, if that program stands beside a rustc that was given by path.
beside-rustc = $(if $(filter /%,$(RUSTC)),$(firstword $(subst :, ,$(1)))=$(or \
	$($(firstword $(subst :, ,$(1)))),$(dir $(RUSTC))$(lastword $(subst :, ,$(1)))))
endif

.PHONY: modules modules_install clippy rustdoc clean
modules: check-kernel
	@mkdir -p $(MO)
	$(kbuild) modules

modules_install:
	$(kbuild) modules_install

clippy: check-kernel
	@mkdir -p $(MO)
	$(kbuild) CLIPPY=1 W=e modules

rustdoc: check-kernel
	@mkdir -p $(MO)
	$(kbuild) HSM_RUSTDOC=y modules

clean:
	rm -rf $(CURDIR)/build

.PHONY: check-kernel
check-kernel:
	@fail() { printf 'error: %s\n' "$$1" >&2; shift; \
		[ $$# -eq 0 ] || printf '       %s\n' "$$@" >&2; exit 1; }; \
	[ -f '$(KDIR)/Makefile' ] || \
		fail 'no kernel build tree at $(KDIR)' \
			'give one: make KDIR=/path/to/kernel modules (or try the test-bed: make run)'; \
	[ -f '$(KDIR)/include/config/auto.conf' ] || \
		fail '$(KDIR) is not configured and built: no include/config/auto.conf'; \
	[ '$(CONFIG_RUST)' = y ] || \
		fail 'the kernel in $(KDIR) has no Rust: it needs CONFIG_RUST=y'; \
	[ '$(CONFIG_ACRN_GUEST)' = y ] || \
		fail 'the kernel in $(KDIR) is no ACRN guest: it needs CONFIG_ACRN_GUEST=y'; \
	[ '$(CONFIG_MMU_NOTIFIER)' = y ] || \
		fail 'the kernel in $(KDIR) has no MMU notifiers, which memory of devices in a VM needs:' \
			'CONFIG_KVM or another of their users selects CONFIG_MMU_NOTIFIER'; \
	[ -f '$(KDIR)/rust/libkernel.rmeta' ] || \
		fail '$(KDIR) has no rust/libkernel.rmeta: the kernel is not built, or these are' \
			'headers packaged without what Rust modules need'; \
	[ -n '$(found-rustc)' ] || \
		fail 'no rustc: the kernel was built by $(kernel-rustc); set RUSTC'; \
	[ '$(found-rustc)' = '$(kernel-rustc)' ] || \
		fail 'the kernel was built by another rustc: a module needs the same one' \
			'  kernel: $(kernel-rustc)' '  here:   $(found-rustc) ($(RUSTC))' \
			'set RUSTC to the right one, or rebuild the kernel'; \
	command -v '$(BINDGEN)' >/dev/null || \
		fail 'no bindgen (>= 0.71.1): install it, or set BINDGEN'

.PHONY: rustfmt rustfmtcheck
rustfmt:
	$(RUSTFMT) --edition 2021 --config newline_style=Unix $(driver-sources)
rustfmtcheck:
	$(RUSTFMT) --edition 2021 --config newline_style=Unix --check $(driver-sources)

# The test-bed ----------------------------------------------------------------

.PHONY: run check check-debug check-rt compare bench mutants setup
# To bash SECONDS is a clock.
run check check-debug check-rt compare bench mutants setup:
	@TEST_SECONDS='$(SECONDS)' exec env -u SECONDS testbed/setup/setup.sh $@

.PHONY: distclean-cache
distclean-cache:
	@exec testbed/setup/setup.sh clean
