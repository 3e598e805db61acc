#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes rust-project.json, from which rust-analyzer knows the driver and all crates.

The kernel's crates and the driver come from the commands that built them, which Kbuild keeps in
.NAME.o.cmd: source, edition, configuration, dependencies and environment of a crate are those of
the compiler's command line. The crates of user space and of the test-bed come from
`cargo metadata`.

The driver must be built, as its bindings are generated during the build: `make rust-analyzer`
does that first.

All crates share the standard library of the kernel's rustc, as a project has only one.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys

# Directories without sources that an editor should index.
EXCLUDED = [".git", "build", "target"]
CARGO_WORKSPACES = ["Cargo.toml", "testbed/hypervisor/Cargo.toml"]


class Failure(Exception):
    """An error whose text is all that the user needs."""


class Project:
    """The crates of a project. The index of a crate is its number in the JSON file."""

    def __init__(self):
        self.crates = []
        self.by_name = {}  # The kernel's crates, by the names that --extern uses.

    def add(self, crate):
        self.crates.append(crate)
        return len(self.crates) - 1

    def dependencies(self, names):
        known = [name for name in names if name in self.by_name]
        return [{"crate": self.by_name[name], "name": name} for name in known]


# Kbuild -----------------------------------------------------------------------


class Command:
    """A command of rustc that Kbuild has kept."""

    def __init__(self, path, directory):
        """Reads the command in `path`, whose relative paths start at `directory`."""
        with open(path, encoding="utf-8") as file:
            line = file.readline()
        # "savedcmd_NAME := COMMAND", escaped for make.
        text = line.partition(":=")[2].replace("$(pound)", "#").replace("$$", "$")
        words = shlex.split(text.partition(" ; ")[0])
        self.environment = {}
        while words and re.match(r"[A-Za-z_]\w*=", words[0]):
            name, _, value = words.pop(0).partition("=")
            self.environment[name] = value
        self.is_rustc = bool(words) and "rustc" in os.path.basename(words[0])
        self.rustc = words[0] if words else None
        self.name = None
        self.edition = "2015"
        self.cfgs, self.externs, self.attributes = [], [], []
        self.is_proc_macro = False
        self.source = self.output = None
        if self.is_rustc:
            self.parse(words[1:], directory)

    def parse(self, words, directory):
        words = iter(words)
        for word in words:
            option, joined, value = word.partition("=")
            if option in ("--cfg", "--extern", "--crate-name", "--crate-type", "--edition"):
                value = value if joined else next(words)
            if option == "--cfg":
                self.cfgs.append(value)
            elif option == "--extern":
                self.externs.append(value.partition("=")[0])
            elif option == "--crate-name":
                self.name = value
            elif option == "--crate-type":
                self.is_proc_macro = value == "proc-macro"
            elif option == "--edition":
                self.edition = value
            elif option == "-Zcrate-attr":
                self.attributes.append(value)
            elif option == "--emit" and value.startswith("link="):
                self.output = os.path.join(directory, value[len("link=") :])
            elif word.startswith("@"):
                self.cfgs += list(cfg_file(os.path.join(directory, word[1:])))
            elif word.endswith(".rs") and not word.startswith("-"):
                self.source = os.path.normpath(os.path.join(directory, word))
        if self.source and self.name is None:
            self.name = os.path.splitext(os.path.basename(self.source))[0]


def cfg_file(path):
    """Yields the configuration of a file with a line `--cfg=...` for each option."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("--cfg="):
                yield line[len("--cfg=") :].rstrip("\n")


def kernel_commands(kdir):
    """Returns the commands of the kernel's crates, each after those that it depends on."""
    commands = {}
    for directory in ("rust/host", "rust"):
        listed = os.path.join(kdir, directory)
        if not os.path.isdir(listed):
            raise Failure(f"{kdir} has no {directory}: the kernel is not built, or has no Rust")
        for name in sorted(os.listdir(listed)):
            if not re.match(r"\..*\.(?:o|rlib|so)\.cmd$", name):
                continue
            command = Command(os.path.join(listed, name), kdir)
            # The standard library, `core` included, is that of the sysroot.
            if command.is_rustc and command.source and command.name != "core":
                commands[command.name] = command
    if "kernel" not in commands:
        raise Failure(f"{kdir}/rust has no .kernel.o.cmd: the kernel is not built, or has no Rust")

    ordered = []

    def visit(name):
        command = commands.get(name)
        if command is None or command in ordered:
            return
        for needed in command.externs:
            visit(needed)
        ordered.append(command)

    for name in sorted(commands):
        visit(name)
    return ordered


def kernel_crate(project, command, environment, sources, is_member):
    crate = {
        "display_name": command.name,
        "root_module": command.source,
        "edition": command.edition,
        "deps": project.dependencies(command.externs),
        "cfg": command.cfgs,
        "env": {"RUST_MODFILE": "rust-analyzer", **command.environment, **environment},
        "crate_attrs": command.attributes,
        "is_workspace_member": is_member,
        "is_proc_macro": command.is_proc_macro,
        "source": {"include_dirs": sources, "exclude_dirs": []},
    }
    if command.is_proc_macro:
        crate["proc_macro_dylib_path"] = command.output
    return crate


def add_kernel(project, kdir):
    for command in kernel_commands(kdir):
        sources = [os.path.dirname(command.source)]
        environment = {}
        if "OBJTREE" in command.environment:
            sources.append(os.path.join(kdir, "rust"))
            environment["OBJTREE"] = kdir
        crate = kernel_crate(project, command, environment, sources, False)
        project.by_name[command.name] = project.add(crate)


def add_driver(project, top, mo):
    """Adds the driver; returns the rustc that built it."""
    path = os.path.join(mo, ".acrn_hsm.o.cmd")
    if not os.path.isfile(path):
        raise Failure(f"no {path}: build the driver first (make modules)")
    command = Command(path, mo)
    # `mo` may belong to another checkout, if the kernel is the same.
    command.source = os.path.join(top, "acrn_hsm.rs")
    crate = kernel_crate(project, command, {"ACRN_HSM_OBJ": mo}, [top, mo], True)
    crate["source"]["exclude_dirs"] = [
        path for path in (os.path.join(top, name) for name in EXCLUDED) if path != mo
    ]
    project.add(crate)
    return command.rustc


# Cargo ------------------------------------------------------------------------


def cargo_metadata(manifest):
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--manifest-path", manifest]
    try:
        done = subprocess.run(command, check=True, capture_output=True)
    except OSError as error:
        raise Failure(f"cargo: {error}") from error
    except subprocess.CalledProcessError as error:
        raise Failure(f"{shlex.join(command)}: {error.stderr.decode(errors='replace')}") from error
    return json.loads(done.stdout)


def is_library(target):
    return any(kind in ("lib", "rlib", "dylib", "proc-macro") for kind in target["kind"])


def find_dylib(directories, name):
    """Returns the newest build of a procedural macro, if there is one."""
    pattern = re.compile(rf"lib{re.escape(name)}-[0-9a-f]+\.so$")
    found = []
    for directory in directories:
        for profile in ("debug", "release"):
            deps = os.path.join(directory, profile, "deps")
            if os.path.isdir(deps):
                files = [file for file in os.listdir(deps) if pattern.match(file)]
                found += [os.path.join(deps, file) for file in files]
    return max(found, key=os.path.getmtime, default=None)


def cargo_crate(package, target, features, is_member):
    directory = os.path.dirname(package["manifest_path"])
    major, minor, patch = (re.split(r"[.+-]", package["version"]) + ["0"] * 3)[:3]
    crate = {
        "display_name": target["name"].replace("-", "_"),
        "version": package["version"],
        "root_module": target["src_path"],
        "edition": target["edition"],
        "deps": [],
        "cfg": [f'feature="{feature}"' for feature in features],
        "env": {
            "CARGO_CRATE_NAME": target["name"].replace("-", "_"),
            "CARGO_MANIFEST_DIR": directory,
            "CARGO_PKG_NAME": package["name"],
            "CARGO_PKG_VERSION": package["version"],
            "CARGO_PKG_VERSION_MAJOR": major,
            "CARGO_PKG_VERSION_MINOR": minor,
            "CARGO_PKG_VERSION_PATCH": patch,
            "CARGO_PKG_DESCRIPTION": package["description"] or "",
        },
        "is_workspace_member": is_member,
        "is_proc_macro": "proc-macro" in target["kind"],
        "source": {"include_dirs": [directory], "exclude_dirs": []},
    }
    if is_member:
        crate["cfg"].append("test")
        crate["source"]["exclude_dirs"] = [os.path.join(directory, name) for name in EXCLUDED]
    return crate


def add_cargo(project, manifest, known, target_directories):
    """Adds the crates of a workspace. `known` has the libraries of those before it."""
    metadata = cargo_metadata(manifest)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    members = set(metadata["workspace_members"])
    target_directories = [metadata["target_directory"], *target_directories]
    pending = []  # (index, node, the package's own library)

    for identity, node in nodes.items():
        package = packages[identity]
        is_member = identity in members
        library = known.get(identity)
        for target in package["targets"]:
            is_root = is_library(target) or (is_member and "custom-build" not in target["kind"])
            if not is_root or (is_library(target) and library is not None):
                continue
            crate = cargo_crate(package, target, node["features"], is_member)
            if crate["is_proc_macro"]:
                dylib = find_dylib(target_directories, crate["display_name"])
                if dylib:
                    crate["proc_macro_dylib_path"] = dylib
            index = project.add(crate)
            if is_library(target):
                known[identity] = library = index
            pending.append((index, node, None if is_library(target) else identity))

    for index, node, own in pending:
        is_member = node["id"] in members
        for dependency in node["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            # A library that depends on its own tests' dependencies would be circular.
            if None not in kinds and not ("dev" in kinds and is_member):
                continue
            if dependency["pkg"] in known:
                needed = {"crate": known[dependency["pkg"]], "name": dependency["name"]}
                project.crates[index]["deps"].append(needed)
        if own in known:
            name = project.crates[known[own]]["display_name"]
            project.crates[index]["deps"].append({"crate": known[own], "name": name})


# ------------------------------------------------------------------------------


def missing_paths(crates):
    """Returns the paths in the project that do not exist."""
    paths = set()
    for crate in crates:
        paths.add(crate["root_module"])
        paths.update(crate["source"]["include_dirs"])
        if "proc_macro_dylib_path" in crate:
            paths.add(crate["proc_macro_dylib_path"])
    return sorted(path for path in paths if not os.path.exists(path))


def sysroot_of(rustc):
    command = [rustc, "--print", "sysroot"]
    try:
        sysroot = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"{shlex.join(command)}: {error}") from error
    library = os.path.join(sysroot, "lib/rustlib/src/rust/library")
    if not os.path.isdir(library):
        raise Failure(f"{rustc} has no source of its library: no {library}")
    return sysroot, library


def write_project(arguments):
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kdir, mo = os.path.realpath(arguments.kdir), os.path.realpath(arguments.mo)
    project = Project()
    add_kernel(project, kdir)
    rustc = add_driver(project, top, mo)
    known = {}
    for manifest in CARGO_WORKSPACES:
        path = os.path.join(top, manifest)
        add_cargo(project, path, known, arguments.cargo_target)
    sysroot, library = sysroot_of(arguments.rustc or rustc)

    missing = missing_paths(project.crates)
    if missing:
        raise Failure("\n".join(["these paths do not exist:", *missing]))
    contents = {"sysroot": sysroot, "sysroot_src": library, "crates": project.crates}
    output = arguments.output or os.path.join(top, "rust-project.json")
    with open(output + ".new", "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=1)
        file.write("\n")
    os.replace(output + ".new", output)
    print(f"{output}: {len(project.crates)} crates")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kdir", required=True, help="the kernel's build tree (make KDIR=)")
    parser.add_argument("--mo", required=True, help="where the driver is built (make MO=)")
    parser.add_argument("--rustc", help="the kernel's rustc (default: the one of the build)")
    parser.add_argument(
        "--cargo-target",
        action="append",
        default=[],
        metavar="DIR",
        help="another target directory of cargo, for built procedural macros",
    )
    parser.add_argument("--output", help="the file (default: rust-project.json at the top)")
    try:
        write_project(parser.parse_args())
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
