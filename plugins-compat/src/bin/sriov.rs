//! `sriov` as a stand-alone CNI plugin, for a runtime or a meta-plugin that looks for a program of that name.

fn main() -> std::process::ExitCode {
    manifold::front::main()
}
