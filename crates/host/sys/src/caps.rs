//! Capability sets of the calling thread.
#![expect(unsafe_code, reason = "capget, capset and prctl")]

use crate::raw::{check, check_int};
use crate::{Errno, Result};

/// A set of capabilities, bit n for capability number n.
pub type CapSet = u64;

/// The three sets that `capset` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// What is in force.
    pub effective: CapSet,
    /// What may be put in force.
    pub permitted: CapSet,
    /// What a file's inheritable set is masked with.
    pub inheritable: CapSet,
}

/// The set with just this capability.
pub fn bit(number: u32) -> CapSet {
    1u64.checked_shl(number).unwrap_or(0)
}

/// CAP_SYS_ADMIN, which loading a seccomp filter without no_new_privs needs.
pub const SYS_ADMIN: CapSet = 1 << 21;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

const VERSION_3: u32 = 0x2008_0522;

/// The sets of this thread.
pub fn get() -> Result<Caps> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [0u32; 6];
    // SAFETY: version 3 fills two structures of three u32 each.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(answer)?;
    let join = |low: usize| u64::from(data[low]) | (u64::from(data[low + 3]) << 32);
    Ok(Caps { effective: join(0), permitted: join(1), inheritable: join(2) })
}

/// Sets all three sets of this thread at once.
pub fn set(caps: Caps) -> Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let data = [
        caps.effective as u32,
        caps.permitted as u32,
        caps.inheritable as u32,
        (caps.effective >> 32) as u32,
        (caps.permitted >> 32) as u32,
        (caps.inheritable >> 32) as u32,
    ];
    // SAFETY: version 3 reads two structures of three u32 each.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    check(answer).map(drop)
}

/// The highest capability number this kernel knows, found by asking (no `/proc` needed).
pub fn last() -> u32 {
    (0..64).take_while(|&number| in_bounding(number).is_some()).last().unwrap_or(0)
}

/// Whether a capability is in the bounding set; `None` if the kernel does not know it.
pub fn in_bounding(number: u32) -> Option<bool> {
    // SAFETY: integers only.
    let answer =
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) };
    check_int(answer).ok().map(|set| set == 1)
}

/// Takes everything that is not in `keep` out of the bounding set.
pub fn limit_bounding(keep: CapSet) -> Result<()> {
    for number in 0..64 {
        if keep & bit(number) != 0 {
            continue;
        }
        // SAFETY: integers only.
        let answer =
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        match check_int(answer) {
            Ok(_) => {}
            Err(Errno::INVAL) => break, // past the last one this kernel knows
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Makes the ambient set exactly `wanted` (each must be permitted and inheritable).
pub fn set_ambient(wanted: CapSet) -> Result<()> {
    ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    for number in (0..64).filter(|&number| wanted & bit(number) != 0) {
        ambient(libc::PR_CAP_AMBIENT_RAISE, number)?;
    }
    Ok(())
}

fn ambient(what: libc::c_int, number: u32) -> Result<()> {
    // SAFETY: integers only.
    let answer = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            what as libc::c_ulong,
            libc::c_ulong::from(number),
            0 as libc::c_ulong,
            0 as libc::c_ulong,
        )
    };
    check_int(answer).map(drop)
}
