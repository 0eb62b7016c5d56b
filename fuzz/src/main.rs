//! The program that `make fuzz` runs. Built with `--cfg fuzzing` it is libFuzzer, and fuzzes the target that the variable
//! `FUZZ_TARGET` names, from what is kept for it on, which it puts into the folder `FUZZ_CORPUS`. Otherwise it feeds
//! files to a target, or prints them as they are kept:
//!
//!     cargo run -p fuzz -- TARGET FILE...
//!     cargo run -p fuzz -- print FILE... >>fuzz/corpus/TARGET
#![cfg_attr(fuzzing, no_main)]
#![allow(clippy::panic, clippy::print_stdout, reason = "a finding is a panic, and inputs are printed")]

fn named(name: &str) -> &'static fuzz::Target {
    fuzz::target(name).unwrap_or_else(|| panic!("{name:?} is none of {}", fuzz::names()))
}

#[cfg(fuzzing)]
mod libfuzzer {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    static TARGET: LazyLock<&fuzz::Target> =
        LazyLock::new(|| super::named(&std::env::var("FUZZ_TARGET").unwrap_or_default()));

    fn lay_out() {
        let folder =
            PathBuf::from(std::env::var_os("FUZZ_CORPUS").unwrap_or_else(|| panic!("no FUZZ_CORPUS")));
        let kept = fuzz::corpus::kept(TARGET.name).unwrap_or_else(|cause| panic!("{cause}"));
        for (input, number) in kept.iter().zip(1..) {
            let written = std::fs::write(folder.join(format!("kept-{number}")), input);
            written.unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
        }
    }

    libfuzzer_sys::fuzz_target!(init: lay_out(), |data: &[u8]| (TARGET.run)(data));
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let word = words.next().unwrap_or_default();
    let act = |input: &[u8]| match word.as_str() {
        "print" => println!("{}", fuzz::corpus::line(input)),
        name => (named(name).run)(input),
    };
    for file in words {
        act(&std::fs::read(file)?);
    }
    Ok(())
}
