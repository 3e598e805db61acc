# SPDX-License-Identifier: GPL-2.0
#
# Prints the examples in the documentation of abstractions/ as a KUnit suite, as
# scripts/rustdoc_test_gen.rs of the kernel does for the kernel crate. An example
# marked `no_run` is only compiled.

BEGIN {
	print "#[kunit_tests(acrn_hsm_examples)]"
	print "mod tests {"
	print "    use kernel::prelude::*;"
}

FNR == 1 {
	file = FILENAME
	sub(/.*\//, "", file)
	sub(/\.rs$/, "", file)
	number = 0
}

/^ *\/\/[\/!] ```/ && !inside {
	inside = 1
	if ($0 !~ /```no_run/)
		print "    #[test]"
	printf "    fn %s_%d() -> Result {\n", file, ++number
	next
}

/^ *\/\/[\/!] ```/ {
	inside = 0
	print "        Ok(())"
	print "    }"
	next
}

inside {
	sub(/^ *\/\/[\/!] ?(# )?/, "")
	print "        " $0
}

END {
	print "}"
}
