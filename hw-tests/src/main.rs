//! hw-tests.
fn main() {}
