//! Volumes that may hold so much, on XFS, and those on another host: Debian's kernel serves NFS to the engine, samba serves SMB. (The kernel's own SMB server, ksmbd, follows
//! a null pointer at the first file that is made.)

use std::{fs, process::Command};

use ferry_testkit::programs;

use super::{check, done, with_libraries};

#[test]
fn volumes_on_a_file_server() {
    let servers = programs::all(["exportfs", "rpc.mountd", "rpc.nfsd", "smbd"]);
    let Some(servers) = servers else { return };
    let programs = programs::all(["ip", "mkfs.xfs", "mkfs.ext4"]);
    let Some([ip, xfs, ext4]) = programs else { return };
    // Algorithms by which SMB signs; it asks the kernel for them by other names than their modules'.
    let modules = [
        "nfsd",
        "nfsv4",
        "cifs",
        "cmac",
        "ccm",
        "gcm",
        "ctr",
        "ghash_generic",
        "sha512_generic",
        "xfs",
        "loop",
    ];
    check(include_str!("file_servers.sh"), "cgroup_no_v1=all", &modules, |root| {
        with_libraries(&ip, &root.join("bin/ip-full"), root);
        let disks: [(_, _, u64, &[&str]); 2] =
            [("xfs", xfs, 320, &["-q", "-f"]), ("ext4", ext4, 16, &["-q", "-O", "quota,project"])];
        for (name, maker, size, flags) in disks {
            let disk = root.join(name);
            fs::File::create(&disk).unwrap().set_len(size << 20).unwrap();
            done(Command::new(maker).args(flags).arg(disk));
        }
        for program in servers {
            with_libraries(&program, &root.join("sbin").join(program.file_name().unwrap()), root);
        }
    });
}
