//! Ferry: picks the face and wires the implementations.
fn main() {}
