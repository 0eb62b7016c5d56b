//! plugins-compat.
fn main() {}
