//! Randomness from the kernel: the only place that draws it.

use ferry_errkind::{ErrorKind, Failure};

/// A new id of 64 hexadecimal digits.
pub(crate) fn id() -> Result<String, Failure> {
    loop {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        if let Some(id) = ferry_stdx::id::hex64(bytes) {
            return Ok(id);
        }
    }
}

/// A random number.
pub(crate) fn number() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()).map(|_| ()).map_err(
        |errno| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot draw random bytes from the kernel: {errno}"),
            )
        },
    )
}
