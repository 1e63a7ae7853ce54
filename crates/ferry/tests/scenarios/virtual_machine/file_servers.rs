//! Volumes on another host: Debian's kernel serves NFS to the engine. (Its SMB server, ksmbd, follows a null pointer at the first
//! file that is made.)

use ferry_testkit::programs;

use super::{check, with_libraries};

#[test]
fn volumes_on_a_file_server() {
    let Some(nfs) = programs::all(["exportfs", "rpc.mountd", "rpc.nfsd"]) else { return };
    let Some([ip]) = programs::all(["ip"]) else { return };
    let modules = ["nfsd", "nfsv4"];
    check(include_str!("file_servers.sh"), "cgroup_no_v1=all", &modules, |root| {
        with_libraries(&ip, &root.join("bin/ip-full"), root);
        for program in nfs {
            with_libraries(&program, &root.join("sbin").join(program.file_name().unwrap()), root);
        }
    });
}
