# SPDX-License-Identifier: GPL-2.0
#
# For people. The kernel's build system reads Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
# Where the driver is built: for a module what `make O=` is for the kernel.
MO ?= $(CURDIR)/build

BINDGEN ?= bindgen
RUSTFMT ?= rustfmt

.PHONY: help
help:
	@echo 'The driver, for the kernel in KDIR=$(KDIR):'
	@echo '  modules          build acrn.ko in MO=$(MO)'
	@echo '  modules_install  install it (below INSTALL_MOD_PATH, if set)'
	@echo '  clippy           build it with the linter; warnings are errors'
	@echo '  rustdoc          build its documentation in MO/doc; warnings are errors'
	@echo '  rust-analyzer    build it and write rust-project.json, for editors'
	@echo '  rustfmt          format the sources; rustfmtcheck only checks them'
	@echo '  clean            remove the build'
	@echo '  RUSTC and BINDGEN select the tools (default: the rustc that built the kernel, bindgen).'
	@echo '  LLVM is as for the kernel, if clang built it (default: 1).'
	@echo
	@echo 'The test-bed, on any x86-64 Debian machine:'
	@echo '  run              boot mini-ACRN, its Service VM and a Linux User VM on this terminal'
	@echo '                   (INTERACTIVE=1: the User VM runs until you type poweroff)'
	@echo '  check            run all tests'
	@echo '                   (ONLY=PROGRAM,PROGRAM: only these programs of selftests/;'
	@echo '                   ONLY=PROGRAM.TEST,TEST: only these tests of it;'
	@echo '                   ONLY=reboot: the reboot of the Service VM with User VMs;'
	@echo '                   DRIVER=c with one of these: on the C driver of upstream;'
	@echo '                   SEED=N: in the order of that seed, which each run shows;'
	@echo '                   SECONDS=N: for tests that can run for any time)'
	@echo '  check-debug      run the selftests on a kernel with KASAN, kmemleak, lockdep and more'
	@echo '  check-rt         run the selftests on a PREEMPT_RT kernel with lockdep'
	@echo '                   (both fail on any warning of the kernel; ONLY as above;'
	@echo '                   ONLY=mistakes, also for check: whether warnings are noticed)'
	@echo '  compare          record the behaviour of both drivers in testbed/record, and fail if it'
	@echo '                   changed (ONLY=PROGRAM: of that program; ONLY=transcript: only the cases)'
	@echo '  bench            measure both drivers in instructions, update Documentation and README, and'
	@echo '                   fail if a target is missed (ONLY=P1,P4: only these paths, on the screen)'
	@echo '  mutants          check that the tests notice mistakes in the driver: takes an hour, and'
	@echo '                   resumes when interrupted (ONLY=AREA or ONLY=AREA/NAME: only these of'
	@echo '                   testbed/mutants; FRESH=1: from the beginning)'
	@echo '  setup            only install what the others need'
	@echo '  distclean-cache  remove everything that the set-up has built'
	@echo '  Kernels, tools and results are kept in $${ACRN_HSM_CACHE:-~/.cache/acrn-hsm}.'

# The driver ------------------------------------------------------------------

# The sources that the kernel's build compiles. cargo formats the others.
driver-sources = $(wildcard $(CURDIR)/testbed/probe/*.rs) $(shell find $(CURDIR) -name '*.rs' ! -name '*generated*' \
	! -path '$(CURDIR)/build/*' ! -path '$(CURDIR)/selftests/*' \
	! -path '$(CURDIR)/testbed/*' ! -path '$(CURDIR)/uapi/*' \
	! -path '$(CURDIR)/userspace/*' ! -path '$(CURDIR)/target/*')
kernel-goals := modules modules_install clippy rustdoc rust-analyzer

ifneq ($(filter $(kernel-goals),$(MAKECMDGOALS)),)
# The configuration of the kernel, and the compilers that built it.
-include $(KDIR)/include/config/auto.conf

# A module must be built by the rustc that built the kernel. It may be in PATH or
# be Debian's.
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
# VARIABLE:program, if that program is beside a rustc that is given by path.
beside-rustc = $(if $(filter /%,$(RUSTC)),$(firstword $(subst :, ,$(1)))=$(or \
	$($(firstword $(subst :, ,$(1)))),$(dir $(RUSTC))$(lastword $(subst :, ,$(1)))))
endif

.PHONY: modules modules_install clippy rustdoc rust-analyzer clean
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

rust-analyzer: modules
	$(CURDIR)/scripts/rust-project.py --kdir $(KDIR) --mo $(abspath $(MO)) --rustc $(RUSTC)

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
		fail 'the kernel in $(KDIR) is not an ACRN guest: it needs CONFIG_ACRN_GUEST=y'; \
	[ '$(CONFIG_MMU_NOTIFIER)' = y ] || \
		fail 'the kernel in $(KDIR) has no MMU notifiers: it needs CONFIG_MMU_NOTIFIER=y,' \
			'which CONFIG_KVM selects, for example'; \
	[ -f '$(KDIR)/rust/libkernel.rmeta' ] || \
		fail '$(KDIR) has no rust/libkernel.rmeta: the kernel is not built, or this is a' \
			'package of headers without support for Rust modules'; \
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
# For bash, SECONDS is a clock.
run check check-debug check-rt compare bench mutants setup:
	@TEST_SECONDS='$(SECONDS)' exec env -u SECONDS testbed/setup/setup.sh $@

.PHONY: distclean-cache
distclean-cache:
	@exec testbed/setup/setup.sh clean
