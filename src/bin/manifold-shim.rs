//! `manifold-shim`: a CNI plugin that passes every call on to `manifold daemon`.

fn main() -> std::process::ExitCode {
    manifold::front::shim::main()
}
