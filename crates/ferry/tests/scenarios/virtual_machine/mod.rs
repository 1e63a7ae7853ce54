//! The engine under a kernel that most users have and the machine of the tests need not: Debian's own (6.1 or newer), with
//! cgroup v2 alone, with AppArmor or SELinux, with systemd, or without IPv6. It runs in a virtual machine, emulated where there is
//! no KVM; `init.sh`, `selinux.sh` and others are what happens in it.

mod file_servers;
mod pods;
mod systemd;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use ferry_testkit::{Sandbox, binary, images, programs};

/// What the kernel does not have built in; what these need comes along.
const MODULES: [&str; 21] = [
    "quota_v2",
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_chain_nat",
    "nft_fib_inet",
    "nft_redir",
    "nft_reject_inet",
    "nf_conntrack_netlink",
    "dummy",
    "8021q",
    "macvlan",
    "ipvlan",
    "sctp",
    "virtio_pci",
    "virtio_blk",
];

/// How long the machine may take: emulated, beside other tests.
const PATIENCE: Duration = Duration::from_secs(540);

#[test]
fn a_kernel_with_cgroup_version_2() {
    let Some([apparmor, ip, socat]) = programs::all(["apparmor_parser", "ip", "socat"]) else {
        return;
    };
    let script = include_str!("init.sh");
    check(script, "cgroup_no_v1=all", &[], |root| {
        with_libraries(&apparmor, &root.join("sbin/apparmor_parser"), root);
        // Busybox's own shows less of links, and is what its shell runs by that name.
        with_libraries(&ip, &root.join("bin/ip-full"), root);
        with_libraries(&socat, &root.join("bin/socat"), root);
    });
}

#[test]
fn a_kernel_with_selinux() {
    let Some([checkpolicy, getfattr]) = programs::all(["checkpolicy", "getfattr"]) else { return };
    let words = "cgroup_no_v1=all security=selinux selinux=1 enforcing=0";
    check(include_str!("selinux.sh"), words, &[], |root| {
        with_libraries(&getfattr, &root.join("bin/getfattr"), root);
        with_scenarios(root);
        let contexts = root.join("etc/selinux/tiny/contexts");
        fs::create_dir_all(&contexts).unwrap();
        fs::write(root.join("etc/selinux/config"), "SELINUXTYPE=tiny\n").unwrap();
        let labels = "process = \"system_u:system_r:container_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";
        fs::write(contexts.join("lxc_contexts"), labels).unwrap();
        let categories: String = (0..1024).map(|number| format!("category c{number};\n")).collect();
        let text = include_str!("policy.conf").replace("@CATEGORIES@", &categories);
        let source = root.join("tmp/policy.conf");
        fs::write(&source, text).unwrap();
        // A version that Debian's kernels of all ages know; what the policy does not name is allowed.
        done(
            Command::new(&checkpolicy)
                .args(["-M", "-U", "allow", "-c", "31", "-o"])
                .arg(root.join("policy"))
                .arg(&source),
        );
    });
}

#[test]
fn a_kernel_without_ipv6() {
    check(include_str!("no_ipv6.sh"), "cgroup_no_v1=all ipv6.disable=1", &[], |_| ());
}

/// Boots a machine with the kernel's `words` and `more` modules whose first process is `script`, and checks that all it says is
/// true.
fn check(script: &str, words: &str, more: &[&str], add: impl FnOnce(&Path)) {
    let Some(kernel) = Kernel::find() else {
        eprintln!(
            "SKIPPED: no unpacked kernel in target/peers/kernel (scripts/test.sh unpacks Debian's)"
        );
        return;
    };
    let Some([qemu, cpio, ext4, modprobe, depmod, busybox]) =
        programs::all(["qemu-system-x86_64", "cpio", "mkfs.ext4", "modprobe", "depmod", "busybox"])
    else {
        return;
    };
    // Only a place for files that is tidied up.
    let sandbox = Sandbox::prepared(&[]);
    let dir = sandbox.dir();
    let root = dir.join("vm");
    fill(&root, &busybox);
    add(&root);
    kernel.copy_modules(more, &root, &modprobe, &depmod);
    fs::copy(images::busybox_tar(), root.join("busybox.tar")).unwrap();
    executable(&root.join("init"), script);
    fs::write(root.join("says.sh"), include_str!("says.sh")).unwrap();
    let early = dir.join("early");
    fs::create_dir_all(early.join("bin")).unwrap();
    for name in ["proc", "dev", "new"] {
        fs::create_dir(early.join(name)).unwrap();
    }
    fs::copy(&busybox, early.join("bin/busybox")).unwrap();
    // Modules and what loads them; what programs need would fill the memory.
    for (from, to) in [("lib/modules", "lib"), ("sbin/modprobe", "sbin")] {
        fs::create_dir(early.join(to)).unwrap();
        done(Command::new("cp").arg("-a").arg(root.join(from)).arg(early.join(to)));
    }
    executable(&early.join("init"), include_str!("early.sh"));

    let (initrd, disk) = (dir.join("initrd"), dir.join("disk"));
    let pack = format!("find . | {} -o -H newc --quiet > {}", cpio.display(), initrd.display());
    done(Command::new("sh").args(["-c", &pack]).current_dir(&early));
    fs::File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    done(
        Command::new(&ext4)
            .args(["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota", "-d"])
            .arg(&root)
            .arg(&disk),
    );

    let said = run(&qemu, &kernel.image, &initrd, &disk, words);
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(failed.is_empty() && said.contains("end of the tests"), "{said}");
    let checks = |line: &str| match line.split(' ').next() {
        Some("same" | "true_that") => 1,
        Some("apart") => 2,
        Some("shared") => 4,
        _ => 0,
    };
    let all: usize = script.lines().map(checks).sum();
    assert_eq!(passed, all, "{said}");
}

/// Boots, and answers what was written on its console.
fn run(qemu: &Path, kernel: &Path, initrd: &Path, disk: &Path, words: &str) -> String {
    let drive = format!("file={},if=virtio,format=raw", disk.display());
    let console = initrd.with_file_name("console");
    let mut machine = Command::new(qemu)
        .args([
            "-accel",
            "tcg",
            "-m",
            "1024",
            "-smp",
            "2",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", &format!("console=ttyS0 quiet panic=-1 {words}")])
        .args(["-drive", &drive])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&console).unwrap())
        .spawn()
        .unwrap();
    let end = std::time::Instant::now() + PATIENCE;
    while machine.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > end {
            machine.kill().unwrap();
            machine.wait().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = fs::read(&console).unwrap();
    String::from_utf8_lossy(&said).replace('\r', "")
}

/// Debian's kernel, unpacked and not installed.
struct Kernel {
    image: PathBuf,
    base: PathBuf,
    version: String,
}

impl Kernel {
    fn find() -> Option<Kernel> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/kernel");
        let base = fs::canonicalize(target).ok()?;
        let version = fs::read_dir(base.join("lib/modules")).ok()?.flatten().next()?;
        let version = version.file_name().into_string().ok()?;
        let image = base.join(format!("boot/vmlinuz-{version}"));
        image.exists().then_some(Kernel { image, base, version })
    }

    /// The modules, those that they need, and the tables by which `modprobe` in the machine finds them.
    fn copy_modules(&self, more: &[&str], root: &Path, modprobe: &Path, depmod: &Path) {
        let modules = Path::new("lib/modules").join(&self.version);
        done(Command::new(depmod).arg("-b").arg(&self.base).arg(&self.version));
        let needed = Command::new(modprobe)
            .arg("-d")
            .arg(&self.base)
            .args(["-S", &self.version, "-a", "--show-depends"])
            .args(MODULES)
            .args(more)
            .output()
            .unwrap();
        let needed = String::from_utf8(needed.stdout).unwrap();
        let files = needed.lines().filter_map(|line| line.strip_prefix("insmod "));
        for file in files.filter_map(|line| line.split_whitespace().next()) {
            let (_, inside) = file.split_once("lib/modules/").unwrap();
            let to = root.join("lib/modules").join(inside);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
        for table in ["modules.builtin", "modules.order"] {
            fs::copy(self.base.join(&modules).join(table), root.join(&modules).join(table))
                .unwrap();
        }
        done(Command::new(depmod).arg("-b").arg(root).arg(&self.version));
    }
}

/// A root file system of busybox and the binary.
fn fill(root: &Path, busybox: &Path) {
    for name in ["bin", "sbin", "proc", "sys", "dev", "run", "tmp", "var", "root", "etc"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    let list = Command::new(busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox")
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    // The kernel calls it by this name.
    std::os::unix::fs::symlink("../bin/busybox", root.join("sbin/modprobe")).unwrap();
    let ferry = root.join("bin/ferry");
    with_libraries(&binary(), &ferry, root);
    // Symbols would be most of the disk. Without strip it is only slower.
    let _ = Command::new("strip").arg(ferry).status();
}

/// Puts this program, which has the scenarios, into the machine.
fn with_scenarios(root: &Path) {
    let scenarios = root.join("bin/scenarios");
    with_libraries(&std::env::current_exe().unwrap(), &scenarios, root);
    // Symbols would be most of the disk. Without strip it is only slower.
    drop(Command::new("strip").arg(scenarios).status());
}

/// Copies a program, and the libraries of one that has any.
fn with_libraries(program: &Path, to: &Path, root: &Path) {
    fs::copy(program, to).unwrap();
    let libraries = Command::new("ldd").arg(program).stderr(Stdio::null()).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
