//! The program that `make fuzz` runs. Built with `--cfg fuzzing` it is libFuzzer, and fuzzes the target that the variable
//! `FUZZ_TARGET` names; otherwise it feeds files to a target: `cargo run -p fuzz -- TARGET FILE...`.
#![cfg_attr(fuzzing, no_main)]
#![allow(clippy::panic, reason = "a finding is a panic")]

#[cfg(fuzzing)]
mod libfuzzer {
    use std::sync::LazyLock;

    static TARGET: LazyLock<&fuzz::Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET {name:?} is none of {}", fuzz::names()))
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let target = fuzz::target(&name).unwrap_or_else(|| panic!("{name:?} is none of {}", fuzz::names()));
    for file in words {
        (target.run)(&std::fs::read(file)?);
    }
    Ok(())
}
