//! What several fuzz targets share: a file system that nobody else sees, and tars made from a fuzzer's bytes.
//!
//! Knows: how a target is kept from touching the machine it runs on. Does not know: libFuzzer, nor what a target asserts, but
//! for [`layer`], which two targets share.
//! Start with [`scratch::enter`], [`layer::check`], [`tar::archive`].

pub mod layer;
pub mod scratch;
pub mod tar;
