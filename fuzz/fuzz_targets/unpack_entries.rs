//! The unpacker on a script of entries (links, whiteouts, one thing in another's place): the same assertions, and that the
//! tree can be packed into a layer that unpacks to the same tree.
#![no_main]

use ferry_archive::{Options, Whiteouts};
use ferry_fuzz::{layer, scratch, tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: scratch::enter(), |data: &[u8]| {
    let Some((how, script)) = data.split_first() else { return };
    let tar = tar::archive(script);
    if how & 1 != 0 {
        let options = Options { whiteouts: Whiteouts::Literal, ..Options::default() };
        layer::check(&tar, &options);
    } else if how & 2 != 0 {
        layer::check_packing(&tar, &Options::default());
    } else {
        layer::check(&tar, &Options::default());
    }
});
