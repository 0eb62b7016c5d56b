//! `manifold`: a CNI plugin when `CNI_COMMAND` is set, a command line otherwise.

fn main() -> std::process::ExitCode {
    manifold::front::main()
}
