//! Who has a port of this machine: sockets' inodes in `/proc/net`, and processes that hold them.

use std::{
    fmt, fs,
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use ferry_model::network::Protocol;

/// More than this of a socket table is not read.
const TABLE_LIMIT: u64 = 16 << 20;
/// `TCP_LISTEN` as the tables write it.
const LISTEN: &str = "0A";

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Holder {
    /// Who has that port on an address that is in the way. `None` if it cannot be told: sockets that are bound and do
    /// not listen are in no table, and other users' processes can only be looked into by root.
    pub fn of(protocol: Protocol, address: IpAddr, port: u16) -> Option<Self> {
        let names = match protocol {
            Protocol::Tcp => ["tcp", "tcp6"],
            Protocol::Udp => ["udp", "udp6"],
            Protocol::Sctp => return None,
        };
        let mut inodes = Vec::new();
        for name in names {
            let mut text = String::new();
            let Ok(table) = fs::File::open(Path::new("/proc/net").join(name)) else { continue };
            if table.take(TABLE_LIMIT).read_to_string(&mut text).is_ok() {
                inodes.extend(sockets(&text, protocol, address, port));
            }
        }
        inodes.into_iter().find_map(process_of)
    }
}

/// Inodes of the sockets in a table that have that port.
fn sockets(table: &str, protocol: Protocol, address: IpAddr, port: u16) -> Vec<u64> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let [_, local, _, state, _, _, _, _, _, inode] = fields.as_slice() else { return None };
        let (bound, bound_port) = endpoint(local)?;
        let in_the_way = bound_port == port && conflict(bound, address);
        // A connection has its listener's port, and is not what is in the way.
        let holds = protocol != Protocol::Tcp || *state == LISTEN;
        (in_the_way && holds).then(|| inode.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(entry).filter(|inode| *inode != 0).collect()
}

/// `0100007F:1F90`: words in the machine's byte order, in hexadecimal.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some((address, port))
}

/// True if nobody can have `wanted` while somebody has `bound`. `::` is taken for all of IPv4 too, as it mostly is.
fn conflict(bound: IpAddr, wanted: IpAddr) -> bool {
    let everything = |address: IpAddr| address == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if everything(bound) || everything(wanted) || bound == wanted {
        return true;
    }
    bound.is_ipv4() == wanted.is_ipv4() && (bound.is_unspecified() || wanted.is_unspecified())
}

fn process_of(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
        descriptors.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        })
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        if !holds(&process.path()) {
            return None;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        Some(Holder { pid, name: name.trim_end().to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
   1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0
   3: garbage
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 99 1
   1: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 98 1
";

    fn found(table: &str, address: &str, port: u16) -> Vec<u64> {
        sockets(table, Protocol::Tcp, address.parse().expect("an address"), port)
    }

    #[test]
    fn listeners_that_are_in_the_way_are_found() {
        assert_eq!(found(TCP, "0.0.0.0", 8080), [4711]);
        assert_eq!(found(TCP, "127.0.0.1", 8080), [4711]);
        assert_eq!(found(TCP, "192.0.2.2", 8080), [0; 0]);
        assert_eq!(found(TCP, "192.0.2.2", 80), [4713]);
        assert_eq!(found(TCP6, "192.0.2.2", 8080), [99]);
        assert_eq!(found(TCP6, "127.0.0.1", 8081), [98]);
    }

    #[test]
    fn our_own_listener_is_found_by_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let holder = Holder::of(Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into(), port);
        assert_eq!(holder.map(|holder| holder.pid), Some(std::process::id()));
    }
}
